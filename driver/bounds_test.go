package driver

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

func TestBounds_followFromWhatNomadGrants(t *testing.T) {
	half := time.Duration(0.5 * float64(runtime.NumCPU()) * float64(cgroup.Period))
	for name, c := range map[string]struct {
		has  resources
		task TaskConfig
		want cgroup.Limits
	}{
		"memory":            {resources{MemoryMB: 300, MHz: 1000}, TaskConfig{}, cgroup.Limits{Memory: 300 << 20, Shares: 1000}},
		"memory_max":        {resources{MemoryMB: 300, MemoryMaxMB: 400}, TaskConfig{}, cgroup.Limits{Memory: 400 << 20, Reserve: 300 << 20}},
		"memory_max = -1":   {resources{MemoryMB: 300, MemoryMaxMB: -1}, TaskConfig{}, cgroup.Limits{Reserve: 300 << 20}},
		"unlimited":         {resources{MemoryMB: 300}, TaskConfig{UnlimitedMemory: true}, cgroup.Limits{}},
		"cores":             {resources{CPUs: "0-3"}, TaskConfig{}, cgroup.Limits{CPUs: "0-3"}},
		"cpu is weighed":    {resources{CPUPart: 0.5}, TaskConfig{}, cgroup.Limits{}},
		"cpu is held to it": {resources{CPUPart: 0.5}, TaskConfig{CPUHardLimit: true}, cgroup.Limits{Quota: half}},
	} {
		b := &builder{situation: situation{Task: c.task, Resources: c.has}}
		b.bounds()
		require.Empty(t, b.problems, name)
		require.Equal(t, c.want, b.Bounds.Limits, name)
	}
}

func TestBounds_mistakesAreNamed(t *testing.T) {
	for text, task := range map[string]TaskConfig{
		"cpu_hard_limit: Nomad did not say which part": {CPUHardLimit: true},
		"oom_score_adj = -5: want 0 to 1000":           {OOMScoreAdj: -5},
		"oom_score_adj = 1001: want 0 to 1000":         {OOMScoreAdj: 1001},
		"ulimit nproc: without root":                   {Ulimit: map[string]string{"nproc": "100"}},
		"ulimit rss: no such limit here":               {Ulimit: map[string]string{"rss": "100"}},
	} {
		b := &builder{situation: situation{Task: task}}
		b.bounds()
		require.Len(t, b.problems, 1, text)
		require.ErrorContains(t, b.problems[0], text)
	}
}

// A limit is the operator's too: it protects the neighbours.
func TestBounds_anOperatorMayWantALimitForEveryTask(t *testing.T) {
	for name, c := range map[string]struct {
		has     resources
		task    TaskConfig
		refused bool
	}{
		"limited":          {resources{MemoryMB: 300}, TaskConfig{}, false},
		"memory_max":       {resources{MemoryMB: 300, MemoryMaxMB: 400}, TaskConfig{}, false},
		"memory_max = -1":  {resources{MemoryMB: 300, MemoryMaxMB: -1}, TaskConfig{}, true},
		"unlimited_memory": {resources{MemoryMB: 300}, TaskConfig{UnlimitedMemory: true}, true},
	} {
		b := &builder{situation: situation{Task: c.task, Resources: c.has, DenyUnlimitedMemory: true}}
		b.bounds()
		require.Equal(t, c.refused, len(b.problems) == 1, name)
		if c.refused {
			require.ErrorContains(t, b.problems[0], "this node's operator wants a limit for every task (deny_unlimited_memory in the plugin's config)")
		}
	}
}

func TestOOM_saysWhoseMemoryRanOut(t *testing.T) {
	o := outcome{Record: shim.Record{OOM: true, OOMs: &cgroup.OOM{Kills: 2, Hits: 1}, Memory: &cgroup.Memory{Limit: 8 << 30, Peak: 8 << 30}}}
	r, note := exitResult(o)
	require.True(t, r.OOMKilled)
	require.ErrorContains(t, r.Err, "the kernel had killed a part of it for memory", "the engine exited 0, unasked")
	require.Contains(t, note, "killed 2 of the task's processes (limit 8192 MiB, peak 8192 MiB). To do: raise resources.memory")

	o.OOMs, o.Memory = &cgroup.OOM{Kills: 1}, &cgroup.Memory{Limit: 8 << 30, Peak: 1 << 30}
	_, note = exitResult(o)
	require.Contains(t, note, "the node ran out of memory and the kernel killed 1 of the task's processes (no limit of the task was hit, peak 1024 MiB)")

	o.StopAsked = true
	r, note = exitResult(o)
	require.True(t, r.OOMKilled)
	require.Contains(t, note, "Stopped after")
	require.Contains(t, note, "the node ran out of memory")

	o.OOMs, o.Memory = nil, nil
	_, note = exitResult(o)
	require.Contains(t, note, "out of memory: the kernel killed a part of the task")
}
