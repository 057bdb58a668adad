package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nomad-vllm/nomad-vllm/sim/serve"
)

const usageText = `usage: vllm-sim serve MODEL [flags of vllm serve]
       vllm-sim --version

A stand-in for the vllm executable that needs no GPU. MODEL is only a name.
Settings of its own are environment variables: VLLM_SIM_PROFILE, VLLM_SIM_LOAD,
VLLM_SIM_SCALE, VLLM_SIM_FAULTS, VLLM_SIM_ADMIN, VLLM_SIM_KV_WIRE_BYTES, VLLM_SIM_VERSION.
`

// Main runs the vllm-sim command and returns the process's exit code.
func Main(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usageText)
		return 2
	}
	switch args[0] {
	case "--version", "-v":
		fmt.Fprintln(stdout, version(getenv))
		return 0
	case "--help", "-h", "help":
		fmt.Fprint(stdout, usageText)
		return 0
	case "serve":
	default:
		fmt.Fprintf(stderr, "vllm-sim: error: argument subparser: invalid choice: '%s' (choose from 'serve')\n", args[0])
		return 2
	}
	for _, a := range args[1:] {
		if a == "--help" || a == "-h" {
			fmt.Fprint(stdout, usageText)
			return 0
		}
	}
	return run(args[1:], getenv, stdout, stderr)
}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	st, warnings, err := read(args, getenv)
	for _, w := range warnings {
		fmt.Fprintf(stderr, "WARNING vllm-sim: %s\n", w)
	}
	var usage *serve.UsageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "vllm serve: error: %v\n", err)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "ERROR ValueError: %v\n", err)
		return 1
	}
	st.log = stdout
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	in, err := start(stop, st)
	if err != nil {
		if stop.Err() != nil {
			return 0
		}
		fmt.Fprintf(stderr, "ERROR %v\n", err)
		return 1
	}
	select {
	case <-in.Done():
	case <-stop.Done():
		cancel() // a second signal ends the process the hard way
		in.Shutdown(context.Background())
	}
	return in.ExitCode()
}
