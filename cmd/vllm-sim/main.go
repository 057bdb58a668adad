// Command vllm-sim stands in for the vllm executable where there is no GPU.
package main

import (
	"os"

	"github.com/nomad-vllm/nomad-vllm/sim"
)

func main() {
	os.Exit(sim.Main(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
