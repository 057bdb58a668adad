package driver_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestFault_shimKilled(t *testing.T) {
	s := newScene(t, "tree")
	s.start()
	s.wait(2)
	require.NoError(t, syscall.Kill(s.shim(), syscall.SIGKILL))
	s.settles(ending{code: 1, err: "was killed; its exit code is lost and 3 processes that it left were killed"})
}

func TestFault_shimAndPluginKilled(t *testing.T) {
	s := newScene(t, "tree")
	s.start()
	supervisor := s.shim()
	s.kill()
	require.NoError(t, syscall.Kill(supervisor, syscall.SIGKILL))
	gone(t, supervisor)
	s.plugin()
	s.recover()
	s.settles(ending{code: 1, err: "its exit code is lost and 3 processes"})
}

// The shim and the plugin are dead, and Nomad never had the task's handle: it
// starts the task anew.
func TestFault_shimAndPluginKilledWithinStartTask(t *testing.T) {
	s := newScene(t, "tree")
	s.start()
	supervisor, old := s.shim(), s.task.said("orphan")
	s.kill()
	require.NoError(t, syscall.Kill(supervisor, syscall.SIGKILL))
	s.plugin()
	s.task.ID = s.task.ID[:len(s.task.ID)-8] + "ffffffff"
	require.NoError(t, os.Remove(filepath.Join(s.task.notes, "ready")))
	s.start()
	gone(t, old)
	s.stop()
	s.settles(ending{})
}

func TestFault_shimStopped(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	s.wait(2)
	require.NoError(t, syscall.Kill(s.shim(), syscall.SIGSTOP))
	s.stop()
	s.settles(ending{})
}

func TestFault_shimAskedToEndByAnyone(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	s.wait(2)
	require.NoError(t, syscall.Kill(s.shim(), syscall.SIGTERM))
	s.settles(ending{})
}

func TestFault_socketRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		engine string
		stop   func(*scene)
		want   ending
	}{
		"stopped in order": {"serve", func(s *scene) {
			begin := time.Now()
			s.stop()
			require.Less(s.t, time.Since(begin), soon, "asked at once, not at the end of its grace")
		}, ending{}},
		"stopped by force": {"stubborn", func(s *scene) {
			require.NoError(s.t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		}, ending{code: 137, signal: 9}},
		"plugin killed too": {"serve", func(s *scene) { s.restart(); s.stop() }, ending{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.engine)
			s.start()
			s.wait(2)
			require.NoError(t, os.Remove(filepath.Join(s.stateDir(), "s")))
			c.stop(s)
			s.settles(c.want)
		})
	}
}

func TestFault_stateDirRemoved(t *testing.T) {
	s := newScene(t, "serve", func(c *driver.Config) { c.StateDir = t.TempDir() })
	s.start()
	s.wait(2)
	require.NoError(t, os.RemoveAll(s.stateDir()))
	require.NoError(t, syscall.Kill(s.task.said("ready"), 0), "the engine goes on")
	s.stop()
	s.settles(ending{})
}

// A full disk: the record has no place. Root fills a small file system; anyone
// can put something into its way.
func TestFault_noPlaceForTheRecord(t *testing.T) {
	for name, fill := range map[string]func(*scene) (empty func()){
		"disk full":    fillDisk,
		"path blocked": blockRecord,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if name == "disk full" {
				smallDisk(t, dir)
			}
			s := newScene(t, "exit-on-usr1:5", func(c *driver.Config) { c.StateDir = dir })
			s.start()
			s.wait(2)
			empty := fill(s)
			supervisor := s.shim()
			require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
			require.Equal(t, 5, waitResult(t, s, s.task.ID).ExitCode)
			for _, ch := range s.waiters {
				require.Equal(t, 5, (<-ch).ExitCode)
			}
			s.waiters = nil
			s.restart()
			require.NoError(t, syscall.Kill(supervisor, 0), "it keeps what it could not write")
			require.Equal(t, 5, waitResult(t, s, s.task.ID).ExitCode, "the next plugin is told by the shim")
			empty()
			gone(t, supervisor)
			s.restart()
			s.settles(ending{code: 5})
		})
	}
	t.Run("destroyed while it is so", func(t *testing.T) {
		s := newScene(t, "exit-on-usr1:5", func(c *driver.Config) { c.StateDir = t.TempDir() })
		s.start()
		blockRecord(s)
		require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
		s.settles(ending{code: 5})
	})
}

func blockRecord(s *scene) func() {
	blocked := filepath.Join(s.stateDir(), "exit.json")
	require.NoError(s.t, os.MkdirAll(filepath.Join(blocked, "full"), 0o700))
	return func() { require.NoError(s.t, os.RemoveAll(blocked)) }
}

// smallDisk makes dir a disk that is soon full; without root it stays as it
// is, and fillDisk does the same as blockRecord.
func smallDisk(t *testing.T, dir string) {
	if err := syscall.Mount("faults", dir, "tmpfs", 0, "size=64k"); err == nil {
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	}
}

func fillDisk(s *scene) func() {
	var st syscall.Statfs_t
	require.NoError(s.t, syscall.Statfs(s.cfg.StateDir, &st))
	if uint64(st.Bsize)*st.Blocks > 64<<10 {
		return blockRecord(s)
	}
	name := filepath.Join(s.cfg.StateDir, "ballast")
	err := os.WriteFile(name, make([]byte, 128<<10), 0o600)
	require.ErrorIs(s.t, err, syscall.ENOSPC)
	return func() { require.NoError(s.t, os.Remove(name)) }
}

// An exec that comes while the task's end is still being written down must not
// start anything: nobody would end it.
func TestFault_execWhileTheTaskIsEnding(t *testing.T) {
	s := newScene(t, "exit-on-usr1:5", func(c *driver.Config) { c.StateDir = t.TempDir() })
	s.start()
	empty := blockRecord(s)
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
	require.Equal(t, 5, waitResult(t, s, s.task.ID).ExitCode)
	for i := range 5 { // some before, some after the plugin knows
		_, err := s.ExecTask(s.task.ID, []string{"sleep", strconv.Itoa(600 + i)}, soon)
		require.ErrorContains(t, err, "exec: task vllm has ended: nothing can run beside it any more")
	}
	empty()
	s.settles(ending{code: 5})
}
