package main

import "github.com/hashicorp/cli"

// commands lists every subcommand; one line each.
func commands(ui cli.Ui) map[string]cli.CommandFactory {
	return map[string]cli.CommandFactory{
		"dev":        func() (cli.Command, error) { return &devCommand{ui}, nil },
		"dev agents": func() (cli.Command, error) { return &agentsCommand{ui}, nil },
	}
}
