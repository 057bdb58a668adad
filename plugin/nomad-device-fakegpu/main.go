// Nomad-device-fakegpu is a Nomad device plugin that offers GPUs where there
// are none, to try out and test jobs that ask for nvidia/gpu.
package main

import (
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/plugins"

	"github.com/nomad-vllm/nomad-vllm/driver/fakegpu"
)

func main() {
	plugins.Serve(func(log hclog.Logger) any { return fakegpu.New(log) })
}
