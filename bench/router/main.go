// Command router of the bench measures routers side by side: pd-router and
// what people run today, in front of mock engines, in one run. docs/benchmarks.md
// is its output; `make bench-router` runs it.
//
// Goroutines: those of packages load (one for each connection) and peer (one
// for each process), and one that reads memory while streams are open. The
// engines are a process of their own: this executable with another argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
)

// openFiles is what 10,000 streams need, twice in a router, with room.
const openFiles = 65536

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/router:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == engineArg {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return engine.Main(n, os.Stdin, os.Stdout)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	var result *report.Run
	if o.from != "" {
		result, err = report.Load(o.from)
	} else {
		result, err = measure(ctx, o)
	}
	if err != nil {
		return err
	}
	if err := report.Text(os.Stdout, result); err != nil {
		return err
	}
	if o.figures != "" {
		if err := report.Save(o.figures, result); err != nil {
			return err
		}
	}
	if o.docs != "" {
		if err := report.Write(o.docs, result); err != nil {
			return err
		}
	}
	return faults(result)
}

// measure starts everything, runs the cells and stops everything.
func measure(ctx context.Context, o options) (*report.Run, error) {
	dir, err := os.MkdirTemp("", "bench-router-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files, err := proc.RaiseFiles(openFiles)
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, reps: o.reps, length: o.length, profiles: o.profile, out: os.Stderr, begin: time.Now()}
	for n := range o.cells {
		if most := int(files)/2 - 800; o.cells[n].Conns > most {
			b.say("only %d open files allowed: %d streams instead of %d", files, most, o.cells[n].Conns)
			o.cells[n].Conns = most
		}
	}
	result := &report.Run{Date: time.Now().UTC().Truncate(time.Second), Commit: commit(ctx), Machine: proc.Here(), Repetitions: o.reps, Slice: o.length, Instances: instances}
	if b.peers, result.Missing, err = findPeers(ctx, o, dir); err != nil {
		return nil, err
	}
	for _, m := range result.Missing {
		b.say("without %s", m)
	}
	for _, p := range b.peers {
		result.Peers = append(result.Peers, report.Peer{Name: p.Name, Version: p.Version})
	}
	if b.engines, err = startEngines(instances); err != nil {
		return nil, err
	}
	defer b.engines.stop()
	if result.Cells, err = b.run(ctx, o.cells); err != nil {
		return nil, err
	}
	result.Others = b.others.share()
	return result, nil
}

// faults is an error if any figure cannot be used.
func faults(r *report.Run) error {
	var errs []error
	for _, c := range r.Cells {
		for name, f := range c.Figures {
			if f.Fault != "" {
				errs = append(errs, fmt.Errorf("%s %s: %s", c.Name, name, f.Fault))
			}
		}
	}
	return errors.Join(errs...)
}
