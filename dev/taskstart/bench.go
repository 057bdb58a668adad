package taskstart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
)

// Options say what to measure. All but Say are required.
type Options struct {
	// StateDir is the cluster's, and emptied.
	StateDir string
	// BinDir holds this project's binaries and start-probe.
	BinDir string
	// Starts is how many starts of each driver are measured.
	Starts int
	// Agents are the cluster's, by name.
	Agents map[string]agents.Found
	// Say is told what happens; it may be nil.
	Say func(format string, args ...any)
}

// The tasks are named after their drivers.
const (
	ours   = "vllm"
	theirs = "raw_exec"
)

// warmUp starts are made and not counted: the first of each reads its binary
// from the disk.
const warmUp = 3

// bench is one run on its way.
type bench struct {
	o       Options
	cluster *cluster.Cluster
	allocs  map[string]*nomadapi.Allocation // by driver
}

// Run measures. What it started is stopped when it returns.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	b := &bench{o: o, allocs: map[string]*nomadapi.Allocation{}}
	b.cluster, err = cluster.Start(ctx, cluster.Config{
		StateDir: o.StateDir, BinDir: o.BinDir, EngineCommand: filepath.Join(o.BinDir, "start-probe"), Trace: true,
		Nomad: o.Agents["nomad"].Path, Consul: o.Agents["consul"].Path, Autoscaler: o.Agents["nomad-autoscaler"].Path,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cluster.Stop()) }()
	if err := b.runJob(ctx); err != nil {
		return nil, err
	}
	r := &Result{Machine: describe(o.Agents["nomad"].Version), At: time.Now(), Starts: o.Starts}
	began, err := b.measure(ctx)
	if err != nil {
		return nil, err
	}
	return r, b.read(began, r)
}

// start is what the probe and Nomad say of one start.
type start struct {
	driver         string
	probe, started time.Time
}

// measure restarts both tasks in turns, the order of each pair reversed every time.
func (b *bench) measure(ctx context.Context) (out []start, err error) {
	order := [2]string{ours, theirs}
	for i := range warmUp + b.o.Starts {
		for _, driver := range order {
			s, err := b.restart(ctx, driver)
			if err != nil {
				return nil, fmt.Errorf("start %d of %s: %w", i, driver, err)
			}
			if i >= warmUp {
				out = append(out, s)
			}
		}
		order[0], order[1] = order[1], order[0]
		if n := i + 1 - warmUp; n > 0 && n%20 == 0 {
			b.o.Say("%d of %d starts of each driver", n, b.o.Starts)
		}
	}
	return out, nil
}

const (
	startLimit = 20 * time.Second
	poll       = 10 * time.Millisecond
)

// restart makes Nomad stop and start a task, and returns once Nomad's servers
// have heard of it: what the agent does about one start does not disturb the next.
func (b *bench) restart(ctx context.Context, driver string) (start, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	probes, err := b.probed(driver)
	if err != nil {
		return start{}, err
	}
	told, err := b.started(driver)
	if err != nil {
		return start{}, err
	}
	if err := b.cluster.Nomad.Allocations().Restart(b.allocs[driver], driver, nil); err != nil {
		return start{}, err
	}
	s := start{driver: driver}
	err = await(ctx, func() (bool, error) {
		now, err := b.probed(driver)
		if err != nil || len(now) == len(probes) {
			return false, err
		}
		s.probe = now[len(now)-1]
		s.started, err = b.started(driver)
		return s.started.After(told), err
	})
	return s, err
}

// started is the time of a task's newest "Started" event.
func (b *bench) started(driver string) (at time.Time, err error) {
	a, _, err := b.cluster.Nomad.Allocations().Info(b.allocs[driver].ID, nil)
	if err != nil {
		return time.Time{}, err
	}
	if ts := a.TaskStates[driver]; ts != nil {
		for _, e := range ts.Events {
			if e.Type == nomadapi.TaskStarted {
				at = time.Unix(0, e.Time)
			}
		}
	}
	return at, nil
}

func await(ctx context.Context, ok func() (bool, error)) error {
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (b *bench) probeFile(driver string) string {
	return filepath.Join(b.cluster.StateDir(), "probe."+driver)
}

// probed are the times that a driver's probes have written.
func (b *bench) probed(driver string) ([]time.Time, error) {
	raw, err := os.ReadFile(b.probeFile(driver))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []time.Time
	for _, line := range strings.Fields(string(raw)) {
		ns, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s's probe: %w", driver, err)
		}
		out = append(out, time.Unix(0, ns))
	}
	return out, nil
}

// runJob starts both tasks the first time.
func (b *bench) runJob(ctx context.Context) error {
	file := filepath.Join(b.cluster.StateDir(), "start.nomad.hcl")
	if err := os.WriteFile(file, []byte(b.job()), 0o644); err != nil {
		return err
	}
	id, err := demo.RunJob(ctx, b.o.Agents["nomad"].Path, b.cluster.Nomad, file, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return await(ctx, func() (bool, error) {
		list, _, err := b.cluster.Nomad.Jobs().Allocations(id, true, nil)
		if err != nil {
			return false, err
		}
		for _, stub := range list {
			switch stub.ClientStatus {
			case nomadapi.AllocClientStatusRunning:
				b.allocs[stub.TaskGroup] = &nomadapi.Allocation{ID: stub.ID, NodeID: stub.NodeID}
			case nomadapi.AllocClientStatusFailed:
				return false, fmt.Errorf("the %s task failed: %s", stub.TaskGroup, lastEvent(stub))
			}
		}
		return len(b.allocs) == 2, nil
	})
}

func lastEvent(a *nomadapi.AllocationListStub) string {
	for _, ts := range a.TaskStates {
		if n := len(ts.Events); n > 0 {
			return ts.Events[n-1].DisplayMessage
		}
	}
	return "no event"
}

// read joins the starts with the agent's log.
func (b *bench) read(starts []start, r *Result) error {
	log, err := os.Open(b.cluster.LogFile("nomad"))
	if err != nil {
		return err
	}
	defer log.Close()
	asked, err := readAsked(log)
	if err != nil {
		return err
	}
	return r.add(starts, asked)
}
