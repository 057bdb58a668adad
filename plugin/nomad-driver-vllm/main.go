// Nomad-driver-vllm is the Nomad task driver "vllm". Nomad starts it; it also
// starts itself, with the argument "shim", as the supervisor of each task.
package main

import (
	"os"

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == shim.Arg {
		os.Exit(shim.Main())
	}
	driver.Serve()
}
