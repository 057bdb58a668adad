package main

import (
	"context"
	"flag"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/cli"

	"github.com/nomad-vllm/nomad-vllm/dev"
)

// benchCommand is `nomad-vllm dev bench`.
type benchCommand struct{ ui cli.Ui }

func (c *benchCommand) Synopsis() string {
	return "Measure how long the driver takes to start a task, beside raw_exec"
}

func (c *benchCommand) Help() string {
	return strings.TrimSpace(`
Usage: nomad-vllm dev bench [options]

  Starts the agents as "nomad-vllm dev" does, restarts one task under the
  driver and one under raw_exec in turns, and compares the times from Nomad's
  turning to the driver until the task's first instruction.

Options:

  -docs=DIR   Write benchmarks-driver.md and its picture there.
  -starts=N   Starts of each driver. Default: 60.
  -state=DIR  Where all state goes. Default: .nomad-vllm/bench

Exit codes: 0 not slower than raw_exec, 1 slower or a step failed, 2 wrong usage.
`)
}

func (c *benchCommand) Run(args []string) int {
	o := dev.BenchOptions{Out: os.Stdout}
	fs := flag.NewFlagSet("dev bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.Docs, "docs", "", "")
	fs.IntVar(&o.Starts, "starts", 0, "")
	fs.StringVar(&o.StateDir, "state", "", "")
	if code, done := parse(c.ui, fs, c.Help(), args); done {
		return code
	}
	bin, err := binDir()
	if err != nil {
		c.ui.Error(err.Error())
		return 1
	}
	o.BinDir = bin
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := dev.Bench(ctx, o); err != nil {
		c.ui.Error("nomad-vllm dev bench: " + err.Error())
		return 1
	}
	return 0
}
