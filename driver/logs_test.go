package driver_test

import (
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// fifos replaces the task's log files by fifos, as Nomad's log collector has them.
func (k *task) fifos() {
	k.t.Helper()
	for _, f := range []string{k.StdoutPath, k.StderrPath} {
		require.NoError(k.t, os.Remove(f))
		require.NoError(k.t, syscall.Mkfifo(f, 0o600))
	}
}

// collector reads a fifo to its end, as Nomad's log collector does.
type collector struct {
	mu   sync.Mutex
	text strings.Builder
	file *os.File
	done chan struct{}
}

func collect(t *testing.T, path string) *collector {
	c := &collector{done: make(chan struct{})}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	c.file = f
	go func() {
		defer close(c.done)
		buf := make([]byte, 32<<10)
		for {
			n, err := f.Read(buf)
			c.mu.Lock()
			c.text.Write(buf[:n])
			seen := c.text.Len() > 0
			c.mu.Unlock()
			if err == io.EOF && !seen { // no writer yet
				time.Sleep(often)
				continue
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func TestLogs_reachTheFifoToTheLastLine(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.fifos()
	out := collect(t, k.StdoutPath)
	k.start(d)
	k.said("ready")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "args serve m") }, soon, often)
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	select {
	case <-out.done:
	case <-time.After(soon):
		t.Fatal("the collector sees no end")
	}
	require.True(t, strings.HasSuffix(out.String(), "draining\n"))
}

func TestLogs_surviveThePluginAndALaterReader(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "serve")
	k.fifos()
	h := k.start(first)
	k.said("ready") // it has written its first line, which nobody reads
	end()

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	t.Cleanup(func() { _ = d.DestroyTask(k.ID, true) })
	out := collect(t, k.StdoutPath)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "args serve m") }, soon, often)
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	<-out.done
	require.Contains(t, out.String(), "draining\n")
}

func TestLogs_aFifoThatNobodyReadsDoesNotStopTheEngine(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "chatty:4096") // 4 MiB: beyond the pipes and the shim's queue
	k.fifos()
	k.start(d)
	k.said("said-it-all")
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	require.True(t, k.wait(d).Successful())
}

func TestLogs_theCollectorOfASilentEngineSeesItsEnd(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tell")
	k.fifos()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = os.ReadFile(k.StdoutPath) // waits for a first writer, as Nomad's collector does
	}()
	k.start(d)
	k.said("ready")
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	select {
	case <-read:
	case <-time.After(soon):
		t.Fatal("the collector waits for a writer that never comes")
	}
}
