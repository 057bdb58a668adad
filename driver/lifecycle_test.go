package driver_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestTask_startsServesAndStops(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	h := k.start(d)
	require.Equal(t, drivers.TaskStateRunning, h.State)
	pid := k.said("ready")

	s, err := d.InspectTask(k.ID)
	require.NoError(t, err)
	require.Equal(t, drivers.TaskStateRunning, s.State)
	require.Equal(t, strconv.Itoa(pid), s.DriverAttributes["pid"])
	require.WithinDuration(t, time.Now(), s.StartedAt, soon)

	shim := shimPID(t, d, k.ID)
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	gone(t, pid, shim)
	res := k.wait(d)
	require.True(t, res.Successful(), "%+v", res)

	s, err = d.InspectTask(k.ID)
	require.NoError(t, err)
	require.Equal(t, drivers.TaskStateExited, s.State)
	require.False(t, s.CompletedAt.IsZero())
	out, err := os.ReadFile(k.StdoutPath)
	require.NoError(t, err)
	require.Equal(t, "args serve m --host 127.0.0.1 --port 23456\ndraining\n", string(out))

	require.NoError(t, d.DestroyTask(k.ID, false))
	_, err = d.InspectTask(k.ID)
	require.ErrorContains(t, err, "task not found")
	left, err := os.ReadDir(k.AllocDir)
	require.NoError(t, err)
	require.Len(t, left, 1, "only the task's own directory is left")
}

func TestTask_everyWaiterGetsTheResult(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "exit:7")
	k.start(d)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			res := k.wait(d)
			if res.ExitCode != 7 || res.Signal != 0 || res.Err != nil {
				t.Errorf("got %+v", res)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 7, k.wait(d).ExitCode, "also long after")
}

func TestTask_waitEndsWithItsContext(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := d.WaitTask(ctx, k.ID)
	require.NoError(t, err)
	cancel()
	select {
	case <-ch:
	case <-time.After(soon):
		t.Fatal("still waiting")
	}
}

func TestTask_exitCodeZeroUnaskedIsAFailure(t *testing.T) {
	d := newDriver(t, driver.Config{})
	events := subscribe(t, d)
	k := newTask(t, "exit:0")
	k.start(d)
	res := k.wait(d)
	require.False(t, res.Successful())
	require.Equal(t, 1, res.ExitCode)
	require.ErrorContains(t, res.Err, "exited with code 0 though nobody had asked it to stop")
	e := waitEvent(t, events, "(exit code 0)")
	require.Regexp(t, `^Ended unasked after [0-9.]+m?s \(exit code 0\). Its last words: ValueError: no good$`, e.Message)
}

func TestTask_eventShowsTheCommandWithoutItsSecrets(t *testing.T) {
	d := newDriver(t, driver.Config{})
	events := subscribe(t, d)
	k := newTask(t, "serve", func(c *driver.TaskConfig) { c.Args = []string{"--api-key", "s3cret", "--max-model-len=8192"} })
	k.start(d)
	e := waitEvent(t, events, "--api-key")
	require.Contains(t, e.Message, "serve m --host 127.0.0.1 --port 23456 --api-key <redacted> --max-model-len=8192")
	require.NotContains(t, e.Message, "s3cret")
	require.Equal(t, k.AllocID, e.AllocID)
	require.Equal(t, k.Name, e.TaskName)
}

// subscribe returns a stream of events that is known to flow: the call returns
// before the other side has noted the subscriber.
func subscribe(t *testing.T, d drivers.DriverPlugin) <-chan *drivers.TaskEvent {
	t.Helper()
	ch, err := d.TaskEvents(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		k := newTask(t, "exit:1")
		k.start(d)
		k.wait(d)
		select {
		case <-ch:
			return true
		case <-time.After(often):
			return false
		}
	}, soon, often)
	return ch
}

func waitEvent(t *testing.T, events <-chan *drivers.TaskEvent, text string) *drivers.TaskEvent {
	t.Helper()
	deadline := time.After(soon)
	for {
		select {
		case e := <-events:
			if strings.Contains(e.Message, text) {
				return e
			}
		case <-deadline:
			t.Fatalf("no event with %q", text)
		}
	}
}

func TestTask_stopKillsTheWholeTree(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tree")
	k.start(d)
	k.said("ready")
	pids := []int{k.said("child"), k.said("orphan")}
	require.NoError(t, d.StopTask(k.ID, soon, "SIGTERM"))
	gone(t, pids...)
	require.True(t, k.wait(d).Successful())
}

func TestTask_stopSignalReachesTheEngineCore(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "core")
	k.start(d)
	k.said("ready")
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	k.said("got-term")
}

func TestTask_stopKillsAfterItsTimeout(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "stubborn")
	k.start(d)
	pid := k.said("ready")
	const grace = 300 * time.Millisecond
	begin := time.Now()
	require.NoError(t, d.StopTask(k.ID, grace, ""))
	require.GreaterOrEqual(t, time.Since(begin), grace)
	gone(t, pid)
	res := k.wait(d)
	require.Equal(t, int(syscall.SIGKILL), res.Signal)
}

func TestTask_killedShimEndsTheTaskAndIsNamed(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "stubborn")
	k.start(d)
	pid, shim := k.said("ready"), shimPID(t, d, k.ID)
	require.NoError(t, syscall.Kill(shim, syscall.SIGKILL))
	res := k.wait(d)
	require.ErrorContains(t, res.Err, "was killed; its exit code is lost and 1 processes")
	gone(t, pid)
	require.NoError(t, d.StopTask(k.ID, 0, ""), "it has ended")
}

func TestTask_stopGoesAroundAHangingShim(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	pid, shim := k.said("ready"), shimPID(t, d, k.ID)
	require.NoError(t, syscall.Kill(shim, syscall.SIGSTOP))
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	gone(t, pid, shim)
}

func TestTask_unknownTasksHaveStopped(t *testing.T) {
	d := newDriver(t, driver.Config{})
	require.NoError(t, d.StopTask("nobody", time.Second, ""))
	require.NoError(t, d.DestroyTask("nobody", true))
	for name, err := range map[string]error{
		"inspect": second(d.InspectTask("nobody")),
		"signal":  d.SignalTask("nobody", "SIGHUP"),
		"exec":    second(d.ExecTask("nobody", []string{"true"}, time.Second)),
	} {
		require.ErrorContains(t, err, "task not found", name)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTask_doubleStartIsRefusedAndHarmless(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	pid := k.said("ready")
	_, _, err := d.StartTask(k.TaskConfig)
	require.ErrorContains(t, err, "was started already")
	require.NoError(t, syscall.Kill(pid, 0))
}

func TestTask_destroyNeedsForceWhileItRuns(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tree")
	k.start(d)
	k.said("ready")
	pids := []int{k.said("child"), k.said("orphan"), shimPID(t, d, k.ID)}
	require.ErrorContains(t, d.DestroyTask(k.ID, false), "still running; stop it first")
	require.NoError(t, d.DestroyTask(k.ID, true))
	gone(t, pids...)
	require.NoError(t, d.DestroyTask(k.ID, true), "again")
}

func TestTask_signalReachesTheEngine(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "usr1")
	k.start(d)
	k.said("ready")
	require.ErrorContains(t, d.SignalTask(k.ID, "SIGNOPE"), `signal "SIGNOPE": no such signal`)
	require.NoError(t, d.SignalTask(k.ID, "SIGUSR1"))
	k.said("got-usr1")
}

func TestTask_statsCoverTheWholeTree(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "busy")
	k.start(d)
	pid := k.said("ready")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch, err := d.TaskStats(ctx, k.ID, 100*time.Millisecond)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		u := <-ch
		if u == nil {
			return false
		}
		m, c := u.ResourceUsage.MemoryStats, u.ResourceUsage.CpuStats
		return m.RSS > 64<<20 && m.Usage == m.RSS && c.Percent > 10 && u.Pids[strconv.Itoa(pid)] != nil
	}, soon, often)
	require.NoError(t, d.StopTask(k.ID, 0, "SIGKILL"))
	require.Eventually(t, func() bool { _, ok := <-ch; return !ok }, soon, often, "the channel ends with the task")
}

func TestTask_stateDirHoldsItsFiles(t *testing.T) {
	dir := t.TempDir()
	d := newDriver(t, driver.Config{StateDir: dir})
	k := newTask(t, "exit:3")
	k.start(d)
	require.Equal(t, 3, k.wait(d).ExitCode)
	found, err := filepath.Glob(filepath.Join(dir, "*", "exit.json"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, d.DestroyTask(k.ID, false))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTask_missingCommandIsNamed(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve", func(c *driver.TaskConfig) { c.Command = "no-such-engine" })
	_, _, err := d.StartTask(k.TaskConfig)
	require.ErrorContains(t, err, `command "no-such-engine": not found on PATH`)
}
