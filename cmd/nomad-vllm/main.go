// Command nomad-vllm is the tool of the people who run a prefill/decode
// deployment on Nomad: it renders and lints job files and runs a development
// cluster on one machine.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/cli"
)

// version is the tool's version; the build may set it with -ldflags -X.
var version = "0.1.0-dev"

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ui := &cli.BasicUi{Reader: os.Stdin, Writer: os.Stdout, ErrorWriter: os.Stderr}
	c := cli.NewCLI("nomad-vllm", version)
	c.Args = args
	c.Commands = commands(ui)
	c.Autocomplete = true
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(os.Stderr, "nomad-vllm: %v\n", err)
		return 1
	}
	return code
}
