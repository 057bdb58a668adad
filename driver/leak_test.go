package driver_test

import (
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// TestTask_livesLeaveNothing: a node starts and stops engines for months.
func TestTask_livesLeaveNothing(t *testing.T) {
	d := newDriver(t, driver.Config{})
	live := func() {
		k := newTask(t, "serve")
		k.start(d)
		k.said("ready")
		if _, err := d.ExecTask(k.ID, []string{"true"}, soon); err != nil {
			t.Error(err)
		}
		if err := d.StopTask(k.ID, soon, ""); err != nil {
			t.Error(err)
		}
		k.wait(d)
		if err := d.DestroyTask(k.ID, false); err != nil {
			t.Error(err)
		}
	}
	live() // what is opened once and kept
	files, routines := openFiles(t), runtime.NumGoroutine()
	const atOnce, rounds = 4, 5
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range rounds {
				live()
			}
		})
	}
	wg.Wait()
	const ofTheCheck = 2 // goroutines that Eventually itself has
	ok := assert.Eventually(t, func() bool {
		return openFiles(t) <= files && runtime.NumGoroutine() <= routines+ofTheCheck
	}, soon, often, "%d files and %d goroutines before", files, routines)
	if !ok {
		stacks := make([]byte, 1<<20)
		t.Logf("%d files now, goroutines:\n%s", openFiles(t), stacks[:runtime.Stack(stacks, true)])
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}
