package main

import "github.com/hashicorp/cli"

// commands lists every subcommand; one line each.
func commands(ui cli.Ui) map[string]cli.CommandFactory {
	return map[string]cli.CommandFactory{}
}
