package dev

import (
	"context"
	"fmt"
	"io"

	"github.com/nomad-vllm/nomad-vllm/dev/taskstart"
)

// BenchOptions say what to measure. The zero value of each field is usable, except BinDir.
type BenchOptions struct {
	// StateDir holds the cluster's state; default .nomad-vllm/bench.
	StateDir string
	// BinDir holds this project's binaries and start-probe.
	BinDir string
	// Starts is how many starts of each driver are measured; default 60.
	Starts int
	// Docs is the directory that gets the results; default none.
	Docs string
	// Out is where progress goes; default nowhere.
	Out io.Writer
}

// Bench measures how long the driver takes to start a task beside raw_exec. It
// is an error if the driver is slower.
func Bench(ctx context.Context, o BenchOptions) error {
	if o.StateDir == "" {
		o.StateDir = ".nomad-vllm/bench"
	}
	if o.Starts == 0 {
		o.Starts = 60
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	say := printer{o.Out}
	say.step("agents")
	found, err := Agents(ctx, o.Out)
	if err != nil {
		return err
	}
	say.step("%d starts of each driver, in turns", o.Starts)
	r, err := taskstart.Run(ctx, taskstart.Options{StateDir: o.StateDir, BinDir: o.BinDir, Starts: o.Starts, Agents: found, Say: say.line})
	if err != nil {
		return err
	}
	fmt.Fprint(o.Out, r.Table())
	if o.Docs != "" {
		if err := r.Write(o.Docs); err != nil {
			return err
		}
	}
	return r.Check()
}
