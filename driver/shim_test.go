package driver_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// Two plain directories stand in for cgroups of version 1; a third is not there.
func TestShim_isInItsCgroupsBeforeTheEngineStarts(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	groups := []string{filepath.Join(dir, "cpuset"), filepath.Join(dir, "freezer"), filepath.Join(dir, "gone")}
	for _, g := range groups[:2] {
		require.NoError(t, os.Mkdir(g, 0o755))
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	started, err := shim.Start(shim.Spec{
		TaskID: "t", Dir: dir, WorkDir: dir, Path: exe, Argv: []string{exe},
		Env:    []string{engineEnv + "=copy:" + filepath.Join(groups[1], "cgroup.procs"), "TEST_NOTES=" + dir},
		Stdout: filepath.Join(dir, "out"), Stderr: filepath.Join(dir, "err"), JoinV1: groups,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = started.Shim.Signal(syscall.SIGKILL) })
	require.Eventually(t, func() bool { _, err := os.Stat(seen); return err == nil }, soon, often)
	for _, file := range []string{seen, filepath.Join(groups[0], "cgroup.procs")} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(started.Shim.PID), strings.TrimSpace(string(b)))
	}
}
