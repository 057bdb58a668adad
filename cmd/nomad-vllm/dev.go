package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"

	"github.com/nomad-vllm/nomad-vllm/dev"
)

// devCommand is `nomad-vllm dev`.
type devCommand struct{ ui cli.Ui }

func (c *devCommand) Synopsis() string {
	return "Run a whole prefill/decode cluster on this machine"
}

func (c *devCommand) Help() string {
	return strings.TrimSpace(`
Usage: nomad-vllm dev [options]

  Starts real Consul, Nomad and nomad-autoscaler agents on loopback, runs the
  prefill/decode job, waits until all instances are healthy, sends a chat
  completion through the router, shows what served it, and stays until Ctrl-C,
  which stops every process that it started.

  The agents are those on PATH (nomad >= 1.9, consul >= 1.18,
  nomad-autoscaler >= 0.4); what is missing is built from source, once, into
  $NOMAD_VLLM_CACHE or the user's cache directory, which needs Go and takes
  minutes. Ports are the usual ones where they are free.

  Without a GPU and without vLLM the node offers fake GPUs and runs vllm-sim.

Options:

  -check            Stop after the answer; exit 1 if any step failed.
  -engine=COMMAND   What the driver runs as vllm. Default: vllm-sim beside this
                    program.
  -gpus=N           Fake GPUs that the node offers. Default: 16.
  -job=FILE         Job to run. Default: the built-in pd.nomad.hcl.
  -state=DIR        Where all state goes. Default: .nomad-vllm/dev
  -timeout=DURATION Longest wait for the job to become healthy. Default: 5m.
  -var NAME=VALUE   HCL variable of the job; may be repeated.

Exit codes: 0 success, 1 a step failed, 2 wrong usage.
`)
}

func (c *devCommand) AutocompleteArgs() complete.Predictor { return complete.PredictNothing }

func (c *devCommand) AutocompleteFlags() complete.Flags {
	return complete.Flags{
		"-check":   complete.PredictNothing,
		"-engine":  complete.PredictFiles("*"),
		"-gpus":    complete.PredictAnything,
		"-job":     complete.PredictFiles("*.hcl"),
		"-state":   complete.PredictDirs("*"),
		"-timeout": complete.PredictAnything,
		"-var":     complete.PredictAnything,
	}
}

func (c *devCommand) Run(args []string) int {
	o := dev.Options{Out: os.Stdout}
	fs := flag.NewFlagSet("dev", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.Check, "check", false, "")
	fs.StringVar(&o.Engine, "engine", "", "")
	fs.IntVar(&o.GPUs, "gpus", 16, "")
	fs.StringVar(&o.Job, "job", "", "")
	fs.StringVar(&o.StateDir, "state", "", "")
	fs.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "")
	fs.Var((*listFlag)(&o.Vars), "var", "")
	if code, done := parse(c.ui, fs, c.Help(), args); done {
		return code
	}
	bin, err := binDir()
	if err != nil {
		c.ui.Error(err.Error())
		return 1
	}
	o.BinDir = bin
	ctx, cancel := signal.NotifyContext(context.Background(),
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP,
		syscall.SIGPIPE) // whoever read our output is gone: stop in order rather than die of it
	defer cancel()
	if err := dev.Run(ctx, o); err != nil {
		c.ui.Error("nomad-vllm dev: " + err.Error())
		return 1
	}
	return 0
}

// agentsCommand is `nomad-vllm dev agents`.
type agentsCommand struct{ ui cli.Ui }

func (c *agentsCommand) Synopsis() string { return "Find the agents that dev needs, or build them" }

func (c *agentsCommand) Help() string {
	return strings.TrimSpace(`
Usage: nomad-vllm dev agents

  Finds nomad, consul and nomad-autoscaler as "nomad-vllm dev" does, builds
  those that are missing, and prints the version and path of each.
`)
}

func (c *agentsCommand) Run(args []string) int {
	fs := flag.NewFlagSet("dev agents", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if code, done := parse(c.ui, fs, c.Help(), args); done {
		return code
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if _, err := dev.Agents(ctx, os.Stdout); err != nil {
		c.ui.Error("nomad-vllm dev agents: " + err.Error())
		return 1
	}
	return 0
}

// binDir is where this program and its siblings are installed.
func binDir() (string, error) {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "", fmt.Errorf("find this program's directory: %w", err)
	}
	return filepath.Dir(exe), nil
}

// parse reads flags of a command that takes no arguments. done means that the
// command ends with the code: help was asked for, or the usage is wrong.
func parse(ui cli.Ui, fs *flag.FlagSet, help string, args []string) (code int, done bool) {
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		ui.Output(help)
		return 0, true
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err != nil {
		ui.Error(fmt.Sprintf("nomad-vllm %s: %v\n\n%s", fs.Name(), err, help))
		return 2, true
	}
	return 0, false
}

// listFlag is a flag that may be repeated.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(v string) error {
	*l = append(*l, v)
	return nil
}
