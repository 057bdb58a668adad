package driver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestStart_endsAForgottenLifeOfTheSameTask(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "tree")
	k.start(first)
	k.said("ready")
	old := []int{k.said("child"), k.said("orphan"), shimPID(t, first, k.ID)}
	end() // and Nomad never got the handle

	d := newDriver(t, driver.Config{})
	k.ID = k.ID[:len(k.ID)-8] + "ffffffff"
	k.start(d)
	gone(t, old...)
	states, err := os.ReadDir(filepath.Join(k.AllocDir, ".nomad-driver-vllm"))
	require.NoError(t, err)
	require.Len(t, states, 1)
	k.said("ready")
}

func TestStart_leavesAForgottenSiblingToItsRecovery(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k, sibling := newTask(t, "serve"), newTask(t, "serve")
	sibling.AllocID, sibling.AllocDir, sibling.Name = k.AllocID, k.AllocDir, k.Name+"_b"
	sibling.ID = k.AllocID + "/" + sibling.Name + "/00000000"
	require.NoError(t, os.MkdirAll(sibling.TaskDir().Dir, 0o755))
	handle := sibling.start(first)
	sibling.said("ready")
	end()

	d := newDriver(t, driver.Config{})
	k.start(d) // before Nomad has asked to recover the sibling
	k.said("ready")
	require.NoError(t, d.RecoverTask(handle))
	t.Cleanup(func() { _ = d.DestroyTask(sibling.ID, true) }) // the plugin that started it is gone
	s, err := d.InspectTask(sibling.ID)
	require.NoError(t, err)
	require.EqualValues(t, "running", s.State)
}

func TestStart_leavesOtherTasksOfTheAllocationAlone(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k, other := newTask(t, "serve"), newTask(t, "serve")
	other.AllocID, other.AllocDir, other.Name = k.AllocID, k.AllocDir, "vllm2"
	other.ID = k.AllocID + "/vllm2/00000000"
	require.NoError(t, os.MkdirAll(other.TaskDir().Dir, 0o755))
	k.start(d)
	other.start(d)
	k.said("ready")
	other.said("ready")
	for _, id := range []string{k.ID, other.ID} {
		s, err := d.InspectTask(id)
		require.NoError(t, err)
		require.EqualValues(t, "running", s.State)
	}
}

func TestTask_inheritsNoIgnoredSignals(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	k.said("ready")
	// A shell shows what it was born with; the shim starts it as it starts the engine.
	res, err := d.ExecTask(k.ID, []string{"grep", "SigIgn", "/proc/self/status"}, soon)
	require.NoError(t, err)
	var ignored uint64
	_, err = fmt.Sscanf(string(res.Stdout), "SigIgn: %x", &ignored)
	require.NoError(t, err, "%s", res.Stdout)
	// The C library, which a -race build links, keeps signals 32 and 33 to itself.
	require.Zero(t, ignored&(1<<31-1), "%s", res.Stdout)
}

// TestTask_inheritsNoFiles: an engine that holds the agent's listener or a
// lock keeps it for as long as it runs.
func TestTask_inheritsNoFiles(t *testing.T) {
	stray, err := os.Create(filepath.Join(t.TempDir(), "stray"))
	require.NoError(t, err)
	defer stray.Close()
	fd, err := unix.Dup(int(stray.Fd())) // without close-on-exec, as other libraries leave theirs
	require.NoError(t, err)
	defer unix.Close(fd)

	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	for _, pid := range []int{k.said("ready"), shimPID(t, d, k.ID)} {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			target, _ := os.Readlink(f)
			require.NotEqual(t, stray.Name(), target)
		}
	}
}
