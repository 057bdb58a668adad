package driver_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// usage sends what Nomad is told of a task, until the test is over.
func usage(t *testing.T, d drivers.DriverPlugin, k *task) <-chan *drivers.TaskResourceUsage {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ch, err := d.TaskStats(ctx, k.ID, 100*time.Millisecond)
	require.NoError(t, err)
	return ch
}

// All of the CPU time is used by children that live for 50 ms: between two
// looks there is never the same process.
func TestStats_countWhatChildrenUsedThatAreGone(t *testing.T) {
	for name, make := range map[string]func(*testing.T, *task) bool{
		"in a cgroup": nomadCgroups, "without": func(*testing.T, *task) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, driver.Config{})
			k := newTask(t, "burn")
			make(t, k)
			k.start(d)
			k.said("spent")
			stats := usage(t, d, k)
			first := <-stats
			require.Zero(t, first.ResourceUsage.CpuStats.Percent, "a rate needs two looks")
			used, since, before := 0.0, first.Timestamp, k.said("spent")
			for range 10 {
				u := <-stats
				c := u.ResourceUsage.CpuStats
				require.GreaterOrEqual(t, c.Percent, 0.0)
				used += c.Percent / 100 * float64(u.Timestamp-since) / float64(time.Millisecond)
				since = u.Timestamp
			}
			spent := float64(k.said("spent") - before) // by the engine's own account
			require.Positive(t, spent)
			const child = 150 // ms, at each end: what runs is not on the parent's account yet
			require.InDelta(t, spent, used, child+0.2*spent)
		})
	}
}

func TestStats_comeFromTheTasksCgroup(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "busy") // with 64 MiB
	k.Resources.NomadResources.Memory.MemoryMB = 512
	made := nomadCgroups(t, k)
	k.start(d)
	k.said("ready")
	m := (<-usage(t, d, k)).ResourceUsage.MemoryStats
	require.Greater(t, m.RSS, uint64(64<<20))
	require.GreaterOrEqual(t, m.Usage, m.RSS)
	if made {
		require.Subset(t, m.Measured, []string{"RSS", "Cache", "Swap", "Usage", "Kernel Usage"})
		require.Less(t, m.Usage, uint64(512<<20))
	} else {
		require.ElementsMatch(t, m.Measured, []string{"RSS", "Swap", "Usage"})
	}
}
