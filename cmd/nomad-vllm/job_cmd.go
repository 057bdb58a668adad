package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/cli"
)

// jobCommand is `nomad-vllm job`, which only lists its subcommands.
type jobCommand struct{}

func (jobCommand) Synopsis() string { return "Render and check Nomad job files" }
func (jobCommand) Run([]string) int { return cli.RunResultHelp }
func (jobCommand) Help() string {
	return strings.TrimSpace(`
Usage: nomad-vllm job <subcommand> [options] [args]

  Makes the Nomad job file of a prefill/decode service from a short description,
  and finds mistakes in job files before a cluster does.
`)
}

// jobFlags makes a flag set that says nothing itself: what goes wrong is said
// in the words of the command, with its help.
func jobFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parseFiles reads the flags of a command that takes files. done means that
// the command ends with the code: help was asked for, or the usage is wrong.
func parseFiles(ui cli.Ui, fs *flag.FlagSet, help string, args []string, most int) (code int, done bool) {
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		ui.Output(help)
		return 0, true
	}
	if err == nil && fs.NArg() == 0 {
		err = errors.New("no file given; name one, or - for standard input")
	}
	if err == nil && most > 0 && fs.NArg() > most {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(most))
	}
	for _, a := range fs.Args() {
		if err == nil && len(a) > 1 && strings.HasPrefix(a, "-") {
			err = fmt.Errorf("option %q stands after a file; put options first", a)
		}
	}
	if err != nil {
		ui.Error(fmt.Sprintf("nomad-vllm %s: %v\n\n%s", fs.Name(), err, help))
		return 2, true
	}
	return 0, false
}

// readFile reads a file, or standard input for "-". what says what it should
// hold, and name is what messages call it.
func readFile(what, path string, stdin io.Reader) (name string, src []byte, err error) {
	if path == "-" {
		src, err = io.ReadAll(stdin)
		if err != nil {
			return "", nil, fmt.Errorf("read %s from standard input: %w", what, err)
		}
		return "<stdin>", src, nil
	}
	src, err = os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", what, err)
	}
	return path, src, nil
}
