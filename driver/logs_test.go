package driver_test

import (
	"fmt"
	"io"
	"os"
	"strconv"
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
	opened := make(chan error, 1)
	go func() {
		defer close(c.done)
		f, err := os.Open(path) // waits for the first writer
		c.mu.Lock()
		c.file = f
		c.mu.Unlock()
		opened <- err
		if err == nil {
			_, _ = io.Copy(c, f)
		}
	}()
	t.Cleanup(func() {
		// A writer of our own, should there never have been another.
		if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
		require.NoError(t, <-opened)
		c.leave()
	})
	return c
}

func (c *collector) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

// leave closes the fifo, as a collector does that ends before the engine.
func (c *collector) leave() {
	c.mu.Lock()
	f := c.file
	c.mu.Unlock()
	f.Close()
	<-c.done
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

// TestLogs_nothingIsLostOrDoubledWhileNobodyReads: the plugin and the collector
// are gone for a while, as in an agent's restart, and the engine goes on.
func TestLogs_nothingIsLostOrDoubledWhileNobodyReads(t *testing.T) {
	s := newScene(t, "numbers:3000") // 300 kB a batch: more than the fifo holds
	s.task.fifos()
	collectors := map[string][]*collector{}
	join := func() {
		collectors["out"] = append(collectors["out"], collect(t, s.task.StdoutPath))
		collectors["err"] = append(collectors["err"], collect(t, s.task.StderrPath))
	}
	batch := func(upTo int) {
		require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
		s.task.said("wrote-" + strconv.Itoa(upTo))
	}
	join()
	s.start()
	batch(3000)
	for _, c := range collectors {
		require.Eventually(t, func() bool { return c[0].String() != "" }, soon, often)
		c[0].leave() // somewhere in the middle
	}
	s.kill()
	batch(6000)
	s.plugin()
	s.recover()
	join()
	batch(9000)
	s.stop()
	for stream, cs := range collectors {
		<-cs[1].done
		var want strings.Builder
		for i := range 9000 {
			fmt.Fprintf(&want, "%s %07d %s\n", stream, i, strings.Repeat("x", 80))
		}
		require.True(t, want.String() == cs[0].String()+cs[1].String(), "%s: %d bytes then %d, want %d", stream, len(cs[0].String()), len(cs[1].String()), want.Len())
	}
	s.settles(ending{})
}

// A collector that lost its fifo makes another one under the same name.
func TestLogs_followAFifoThatIsMadeAnew(t *testing.T) {
	s := newScene(t, "numbers:10")
	s.task.fifos()
	s.start()
	batch := func(upTo int) {
		require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
		s.task.said("wrote-" + strconv.Itoa(upTo))
	}
	first := collect(t, s.task.StdoutPath)
	batch(10)
	require.Eventually(t, func() bool { return strings.Contains(first.String(), "out 0000009") }, soon, often)
	s.task.fifos()
	out := collect(t, s.task.StdoutPath)
	batch(20)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "out 0000019") }, soon, often)
	s.stop()
	s.settles(ending{})
}
