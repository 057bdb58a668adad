package main

import (
	"os"

	"github.com/hashicorp/cli"
)

// commands lists every subcommand; one line each.
func commands(ui cli.Ui) map[string]cli.CommandFactory {
	return map[string]cli.CommandFactory{
		"dev":        func() (cli.Command, error) { return &devCommand{ui}, nil },
		"dev agents": func() (cli.Command, error) { return &agentsCommand{ui}, nil },
		"dev bench":  func() (cli.Command, error) { return &benchCommand{ui}, nil },
		"job":        func() (cli.Command, error) { return jobCommand{}, nil },
		"job lint":   func() (cli.Command, error) { return &lintCommand{ui, os.Stdin, os.Stdout}, nil },
		"job render": func() (cli.Command, error) { return &renderCommand{ui, os.Stdin, os.Stdout}, nil },
	}
}
