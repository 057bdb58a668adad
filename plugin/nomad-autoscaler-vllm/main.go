// Command nomad-autoscaler-vllm is loaded by the Nomad Autoscaler: as an APM
// with the argument "apm", as a strategy with "strategy". It owns no goroutine;
// go-plugin serves and the autoscaler's agent ends it.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad-autoscaler/plugins"

	"github.com/nomad-vllm/nomad-vllm/autoscale/apm"
	"github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
)

// name is this binary's file name and the plugin's: the agent compares them.
const name = "nomad-autoscaler-vllm"

const usage = `Usage: nomad-autoscaler-vllm apm|strategy

A plugin of the Nomad Autoscaler, not run by hand. Put it into the agent's
plugin_dir and name it in the agent's configuration:

    apm "vllm" {
      driver = "nomad-autoscaler-vllm"
      args   = ["apm"]
    }

    strategy "vllm-pd" {
      driver = "nomad-autoscaler-vllm"
      args   = ["strategy"]
    }
`

func main() {
	kind := ""
	if len(os.Args) == 2 {
		kind = os.Args[1]
	}
	switch kind {
	case "apm":
		plugins.Serve(func(l hclog.Logger) any { return apm.New(name, l) })
	case "strategy":
		plugins.Serve(func(l hclog.Logger) any { return strategy.New(name, l) })
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}
