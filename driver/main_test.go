package driver_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	os.Exit(runLeavingNothing(m))
}

// runLeavingNothing fails the package when a process of its tests outlives
// them: what a single test does not look for.
func runLeavingNothing(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drv")
	if err == nil {
		err = os.Chmod(dir, 0o755) // some tasks run as another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make the tests' directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir) // every test's directory is in it, and so in the environment of what it starts
	code := m.Run()
	left := processesUnder(dir)
	tick := time.NewTicker(often)
	defer tick.Stop()
	for deadline := time.Now().Add(soon); len(left) > 0 && time.Now().Before(deadline); left = processesUnder(dir) {
		<-tick.C
	}
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "the tests have left processes:\n%s\n", strings.Join(left, "\n"))
		code = 1
	}
	return code
}

// processesUnder are those that run this binary or know the directory, but for
// this process. A zombie is only waiting for its parent.
func processesUnder(dir string) (left []string) {
	self, _ := os.Stat("/proc/self/exe")
	all, err := shim.Processes()
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range all {
		if p.PID == os.Getpid() || p.State == 'Z' {
			continue
		}
		proc := "/proc/" + strconv.Itoa(p.PID)
		exe, err := os.Stat(proc + "/exe")
		args, _ := os.ReadFile(proc + "/cmdline")
		env, _ := os.ReadFile(proc + "/environ")
		if err == nil && os.SameFile(self, exe) || bytes.Contains(append(args, env...), []byte(dir)) {
			left = append(left, fmt.Sprintf("%d %s", p.PID, bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
		}
	}
	return left
}
