package driver_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// TestMain lets the test binary be the plugin and what the driver starts: the
// shim, which is always the driver's own executable, and the engine.
// They end by the system call: under -race os.Exit takes a second.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Arg {
		syscall.Exit(shim.Main())
	}
	if dump := os.Getenv(pluginEnv); dump != "" {
		servePlugin(dump)
		syscall.Exit(0)
	}
	if behaviour := os.Getenv(engineEnv); behaviour != "" {
		name, arg, _ := strings.Cut(behaviour, ":")
		syscall.Exit(engine(name, arg))
	}
	os.Exit(m.Run())
}
