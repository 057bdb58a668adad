package driver_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"
)

func TestFault_engineCoreKilled(t *testing.T) {
	t.Run("and the API server exits 0", func(t *testing.T) {
		s := newScene(t, "core-dies:exit")
		s.start()
		s.wait(2)
		require.NoError(t, syscall.Kill(s.task.said("core"), syscall.SIGKILL))
		s.settles(ending{code: 1, err: "exited with code 0 though nobody had asked it to stop"})
	})
	t.Run("and the API server hangs until Nomad's check ends it", func(t *testing.T) {
		s := newScene(t, "core-dies:hang")
		s.start()
		s.wait(2)
		require.NoError(t, syscall.Kill(s.task.said("core"), syscall.SIGKILL))
		require.NoError(t, s.StopTask(s.task.ID, 200*time.Millisecond, ""))
		s.settles(ending{code: 137, signal: 9})
	})
}

func TestFault_engineKilled(t *testing.T) {
	s := newScene(t, "tree")
	s.start()
	s.wait(2)
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGKILL))
	s.settles(ending{code: 137, signal: 9})
}

func TestFault_engineStopped(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGSTOP))
	require.NoError(t, s.StopTask(s.task.ID, 200*time.Millisecond, ""))
	s.settles(ending{code: 137, signal: 9})
}

func TestFault_engineDaemonises(t *testing.T) {
	s := newScene(t, "daemonise:4")
	s.start()
	s.wait(2)
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
	s.settles(ending{code: 4})
}

func TestFault_engineClosesItsOutput(t *testing.T) {
	s := newScene(t, "mute")
	s.task.fifos()
	out := collect(t, s.task.StdoutPath)
	s.start()
	select {
	case <-out.done:
	case <-time.After(soon):
		t.Fatal("the collector sees no end")
	}
	st, err := s.InspectTask(s.task.ID)
	require.NoError(t, err)
	require.Equal(t, drivers.TaskStateRunning, st.State)
	s.stop()
	s.settles(ending{})
}

func TestFault_fifoThatNobodyReads(t *testing.T) {
	s := newScene(t, "chatty:4096") // 4 MiB: beyond the pipes and the shim's buffer
	s.task.fifos()
	s.handle = s.task.start(s)
	s.task.said("said-it-all") // it was never held up
	s.wait(2)
	s.stop()
	s.settles(ending{})
}

func TestFault_execOpenWhileTheTaskEnds(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	s.wait(2)
	var out bytes.Buffer
	ended := make(chan *drivers.ExitResult, 1)
	go func() {
		stream := newStream("", false)
		raw := s.DriverPlugin.(drivers.ExecTaskStreamingRawDriver)
		err := raw.ExecTaskStreamingRaw(t.Context(), s.task.ID,
			[]string{"sh", "-c", "echo $$ > " + s.task.notes + "/exec; exec sleep 100"}, false, stream)
		ended <- &drivers.ExitResult{ExitCode: stream.code(), Err: err}
	}()
	pid := s.task.said("exec")
	s.stop()
	res := <-ended
	require.NoError(t, res.Err, out.String())
	require.Equal(t, 137, res.ExitCode, "the command was killed, and that is said")
	gone(t, pid)
	s.settles(ending{})
}

func TestFault_execAfterTheEnd(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	s.stop()
	_, err := s.ExecTask(s.task.ID, []string{"true"}, soon)
	require.ErrorContains(t, err, "exec: task vllm has ended")
	s.settles(ending{})
	_, err = s.ExecTask(s.task.ID, []string{"true"}, soon)
	require.ErrorContains(t, err, "task not found")
}

func TestFault_execCancelled(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		raw := s.DriverPlugin.(drivers.ExecTaskStreamingRawDriver)
		ended <- raw.ExecTaskStreamingRaw(ctx, s.task.ID,
			[]string{"sh", "-c", "echo $$ > " + s.task.notes + "/exec; sleep 100 & sleep 101"}, true, newStream("", false))
	}()
	pid := s.task.said("exec")
	cancel()
	require.Error(t, <-ended)
	gone(t, pid)
	s.stop()
	s.settles(ending{})
}

// nothing that the driver or the shim has open may be open in the engine.
func TestFault_engineInheritsItsThreeFilesOnly(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	res, err := s.ExecTask(s.task.ID, []string{"ls", "/proc/self/fd"}, soon)
	require.NoError(t, err)
	require.Equal(t, "0 1 2 3", strings.Join(strings.Fields(string(res.Stdout)), " "), "3 is the directory that ls reads")
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(s.task.said("ready")), "fd"))
	require.NoError(t, err)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(s.task.said("ready")), "fd", e.Name()))
		require.NoError(t, err)
		require.NotContains(t, target, s.stateDir())
		require.NotContains(t, target, "socket:")
	}
	s.stop()
	s.settles(ending{})
}
