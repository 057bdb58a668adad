package driver_test

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

const (
	livesAtOnce = 8
	// livesEnv sets how many lives there are; `make soak-driver` has 300.
	livesEnv     = "DRIVER_LIVES"
	livesDefault = 24
)

// TestTask_livesLeaveNothing: a node starts and stops engines for months.
func TestTask_livesLeaveNothing(t *testing.T) {
	lives := livesDefault
	if text := os.Getenv(livesEnv); text != "" {
		var err error
		lives, err = strconv.Atoi(text)
		require.NoError(t, err, livesEnv)
	}
	s := newScene(t, "serve", func(c *driver.Config) { c.StateDir = t.TempDir() })
	live(t, s) // what is opened once and kept
	files := s.pluginProcess.files()
	routines, _ := s.goroutines()
	begin := time.Now()
	var wg sync.WaitGroup
	work := make(chan struct{})
	var mu sync.Mutex
	var allocs []string
	for range livesAtOnce {
		wg.Go(func() {
			for range work {
				alloc := live(t, s)
				mu.Lock()
				allocs = append(allocs, alloc)
				mu.Unlock()
			}
		})
	}
	for range lives {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	took := time.Since(begin)
	require.Len(t, allocs, lives)
	require.Eventually(t, func() bool { return len(processesOf(t, allocs...)) == 0 }, soon, often, "%v", processesOf(t, allocs...))
	for _, alloc := range allocs {
		require.Empty(t, cgroupsOf(alloc))
	}
	require.Empty(t, stateFiles(t, s.cfg, s.task))
	var now int
	var dump string
	if !assert.Eventually(t, func() bool {
		now, dump = s.goroutines()
		return now <= routines && s.pluginProcess.files() <= files
	}, soon, 5*often) {
		t.Log(dump)
	}
	t.Logf("%d lives, %d at once, in %s: goroutines of the plugin %d before, %d after; files %d before, %d after",
		lives, livesAtOnce, took.Round(time.Millisecond), routines, now, files, s.pluginProcess.files())
}

// live is one life of a task, with two who wait for it and an exec; it returns
// the allocation's ID.
func live(t *testing.T, s *scene) string {
	k := newTask(t, "tree")
	k.start(s)
	k.said("ready")
	waiters := make(chan int, 2)
	for range cap(waiters) {
		ch, err := s.WaitTask(t.Context(), k.ID)
		if err != nil {
			t.Error(err)
			return k.AllocID
		}
		go func() { waiters <- (<-ch).ExitCode }()
	}
	if _, err := s.ExecTask(k.ID, []string{"true"}, soon); err != nil {
		t.Error(err)
	}
	if err := s.StopTask(k.ID, soon, ""); err != nil {
		t.Error(err)
	}
	for range cap(waiters) {
		if code := <-waiters; code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	if err := s.DestroyTask(k.ID, false); err != nil {
		t.Error(err)
	}
	return k.AllocID
}
