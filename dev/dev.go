package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
	"github.com/nomad-vllm/nomad-vllm/examples/hcl"
)

// Options say what to run. The zero value of each field is usable, except BinDir.
type Options struct {
	// StateDir holds the cluster's state; default .nomad-vllm/dev in the
	// working directory.
	StateDir string
	// BinDir holds this project's binaries.
	BinDir string
	// Job is the job file; default the built-in example.
	Job string
	// Vars are HCL variables of the job, "name=value".
	Vars []string
	// Engine is what the driver runs as `vllm`; default the simulator in BinDir.
	Engine string
	// GPUs is how many fake GPUs the node offers; default 16.
	GPUs int
	// Check returns after the answer instead of staying until ctx ends.
	Check bool
	// Timeout bounds the wait for the job to become healthy; default 5 minutes.
	Timeout time.Duration
	// Out is where progress goes; default nowhere.
	Out io.Writer
}

// binaries are this project's own programs that a cluster runs.
var binaries = []string{"nomad-driver-vllm", "nomad-device-fakegpu", "nomad-autoscaler-vllm", "pd-router"}

// Run does the whole demo. It returns nil when a chat completion was served by
// a prefill and a decode with a KV transfer between them and everything was
// stopped cleanly, whether at once (Check) or when ctx ended.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.complete(); err != nil {
		return err
	}
	r := &run{o: o, say: printer{o.Out}, start: time.Now()}
	if err := r.locate(ctx); err != nil {
		return err
	}
	r.start = time.Now() // what an agent's build took, once, is not the demo's
	if err := r.up(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.down()) }()
	if err := r.job(ctx); err != nil {
		return err
	}
	if err := r.ask(ctx); err != nil {
		return err
	}
	if o.Check {
		return nil
	}
	return r.stay(ctx)
}

func (o *Options) complete() error {
	if o.StateDir == "" {
		o.StateDir = filepath.Join(".nomad-vllm", "dev")
	}
	if o.GPUs == 0 {
		o.GPUs = 16
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	needed := binaries
	if o.Engine == "" {
		needed = append(needed, "vllm-sim")
		o.Engine = filepath.Join(o.BinDir, "vllm-sim")
	}
	var errs []error
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(o.BinDir, name)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not in %s, beside nomad-vllm: install it there (in a checkout: make build)", name, o.BinDir))
		}
	}
	if o.Job != "" {
		if _, err := os.Stat(o.Job); err != nil {
			errs = append(errs, fmt.Errorf("job file: %w", err))
		}
	}
	return errors.Join(errs...)
}

// run is one demo on its way.
type run struct {
	o       Options
	say     printer
	start   time.Time
	found   map[string]agents.Found
	cluster *cluster.Cluster
	jobID   string
	router  string // its URL
}

func (r *run) locate(ctx context.Context) (err error) {
	r.say.step("agents")
	r.found, err = Agents(ctx, r.o.Out)
	return err
}

func (r *run) up(ctx context.Context) (err error) {
	r.say.step("cluster, its state in %s", r.o.StateDir)
	r.cluster, err = cluster.Start(ctx, cluster.Config{
		StateDir: r.o.StateDir, BinDir: r.o.BinDir, EngineCommand: r.o.Engine, GPUs: r.o.GPUs,
		Nomad: r.found["nomad"].Path, Consul: r.found["consul"].Path, Autoscaler: r.found["nomad-autoscaler"].Path,
		Say: r.say.line,
	})
	return err
}

func (r *run) job(ctx context.Context) error {
	file := r.o.Job
	if file == "" {
		file = filepath.Join(r.cluster.StateDir(), "pd.nomad.hcl")
		if err := os.WriteFile(file, hcl.PD, 0o644); err != nil {
			return err
		}
	}
	vars := r.o.Vars
	if p := r.cluster.Ports.Router; p != cluster.UsualRouterPort {
		vars = append(vars, fmt.Sprintf("router_port=%d", p))
	}
	r.router = fmt.Sprintf("http://localhost:%d", r.cluster.Ports.Router)
	r.say.step("nomad job run %s", file)
	id, err := demo.RunJob(ctx, r.found["nomad"].Path, r.cluster.Nomad, file, vars)
	if err != nil {
		return err
	}
	r.jobID = id
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	w := demo.Watcher{
		Nomad: r.cluster.Nomad, Consul: r.cluster.Consul, Job: id, Alive: r.cluster.Err,
		Each: func(p demo.Progress) { r.say.timed(r.start, "%-12s %s", p.Instance, p.Text()) },
	}
	if err := w.Wait(ctx); err != nil {
		return err
	}
	return demo.Ready(ctx, r.router)
}

func (r *run) stay(ctx context.Context) error {
	r.say.step("running; Ctrl-C stops it and leaves nothing behind")
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := r.cluster.Err(); err != nil {
				return err
			}
		}
	}
}

func (r *run) down() error {
	r.say.step("stopping")
	if err := r.cluster.Stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	r.say.line("stopped, no process left")
	return nil
}
