package driver_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// TestMain lets the test binary be the plugin and what the driver starts: the
// shim, which is always the driver's own executable, and the engine.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Arg {
		os.Exit(shim.Main())
	}
	if dump := os.Getenv(pluginEnv); dump != "" {
		servePlugin(dump)
		os.Exit(0)
	}
	if behaviour := os.Getenv(engineEnv); behaviour != "" {
		name, arg, _ := strings.Cut(behaviour, ":")
		os.Exit(engine(name, arg))
	}
	os.Exit(m.Run())
}
