package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
)

const scope = "8f3a.vllm"

// tree makes the files of a pretended cgroup mount: the kernel's have the same
// names and, as these, take no new ones.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return root
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(b)
}

func v2(t *testing.T) (dir string) {
	in := "nomad.slice/share.slice/" + scope + ".scope/"
	files := map[string]string{}
	for _, f := range []string{"cgroup.controllers", "cgroup.procs", "memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "cpuset.cpus"} {
		files[in+f] = ""
	}
	return filepath.Clean(filepath.Join(tree(t, files), in))
}

func v1(t *testing.T) (root, cpuset string) {
	files := map[string]string{"cpuset/nomad/reserve/" + scope + "/cgroup.procs": "", "cpuset/nomad/reserve/" + scope + "/cpuset.cpus": ""}
	for controller, names := range map[string][]string{
		"memory":  {"memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness"},
		"cpu":     {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"},
		"freezer": {"freezer.state"},
	} {
		for _, name := range append(names, "cgroup.procs") {
			files[controller+"/nomad/"+scope+"/"+name] = ""
		}
	}
	root = tree(t, files)
	return root, filepath.Join(root, "cpuset/nomad/reserve", scope)
}

func all() cgroup.Limits {
	return cgroup.Limits{Memory: 8 << 30, Reserve: 4 << 30, Shares: 2000, Quota: 250 * time.Millisecond, CPUs: "0-3"}
}

func TestApply_onVersion2(t *testing.T) {
	dir := v2(t)
	d := cgroup.Find(dir, scope)
	require.Equal(t, 2, d.Version)
	require.Equal(t, dir, d.Own())
	require.Empty(t, d.Join(), "a process is born there")
	require.Empty(t, d.Apply(all()))
	for file, want := range map[string]string{
		"memory.max": "8589934592", "memory.low": "4294967296", "memory.swap.max": "0",
		"cpu.max": "250000 100000", "cpu.weight": "170", "cpuset.cpus": "0-3",
	} {
		require.Equal(t, want, read(t, dir, file), file)
	}
}

func TestApply_onVersion1(t *testing.T) {
	root, cpuset := v1(t)
	d := cgroup.Find(cpuset, scope)
	require.Equal(t, 1, d.Version)
	require.Equal(t, filepath.Join(root, "freezer/nomad", scope), d.Own())
	require.Len(t, d.Join(), 4)
	require.Empty(t, d.Apply(all()))
	for file, want := range map[string]string{
		"memory/memory.limit_in_bytes": "8589934592", "memory/memory.soft_limit_in_bytes": "4294967296",
		"memory/memory.memsw.limit_in_bytes": "8589934592", "memory/memory.swappiness": "0",
		"cpu/cpu.shares": "2000", "cpu/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "250000",
	} {
		controller, name := filepath.Split(file)
		require.Equal(t, want, read(t, root, controller, "nomad", scope, name), file)
	}
	require.Equal(t, "0-3", read(t, cpuset, "cpuset.cpus"))
}

func TestApply_withoutWishesWritesNothing(t *testing.T) {
	dir := v2(t)
	require.Empty(t, cgroup.Find(dir, scope).Apply(cgroup.Limits{}))
	require.Empty(t, read(t, dir, "memory.max"))
}

func TestApply_saysWhatDoesNotHold(t *testing.T) {
	limits := func(rs []cgroup.Refusal) (out []string) {
		for _, r := range rs {
			out = append(out, r.Limit)
		}
		return out
	}
	every := []string{cgroup.MemoryLimit, cgroup.CPULimit, cgroup.CPUShares, cgroup.CPUSet}

	none := cgroup.Find("", scope).Apply(all())
	require.Equal(t, every, limits(none))
	require.ErrorContains(t, none[0].Err, "Nomad's client has made none for the task")

	dir := v2(t)
	require.Equal(t, every, limits(cgroup.Find(dir, "other.task").Apply(all())), "a cgroup that others share is not ours to limit")

	require.NoError(t, os.Remove(filepath.Join(dir, "memory.max"))) // as without the controller
	got := cgroup.Find(dir, scope).Apply(all())
	require.Equal(t, []string{cgroup.MemoryLimit}, limits(got))
	require.ErrorContains(t, got[0].Err, "memory.max: no such file")

	root, cpuset := v1(t)
	require.NoError(t, os.RemoveAll(filepath.Join(root, "cpu")))
	got = cgroup.Find(cpuset, scope).Apply(all())
	require.Equal(t, []string{cgroup.CPULimit, cgroup.CPUShares}, limits(got))
	require.ErrorContains(t, got[1].Err, "no cgroup with cpu.shares")
}

func TestHolding_keepsOnlyWhereTheProcessIs(t *testing.T) {
	root, cpuset := v1(t)
	memory := filepath.Join(root, "memory/nomad", scope)
	require.NoError(t, os.WriteFile(filepath.Join(memory, "cgroup.procs"), []byte("12\n4711\n"), 0o600))
	d := cgroup.Find(cpuset, scope).Holding(4711)
	require.Equal(t, memory, d.Memory)
	require.Empty(t, d.CPU+d.CPUSet+d.Freezer)
}

func TestRead_version2(t *testing.T) {
	dir := tree(t, map[string]string{
		"memory.current": "900\n", "memory.max": "max\n", "memory.peak": "950\n", "memory.swap.current": "7\n",
		"memory.stat":   "anon 300\nfile 500\nkernel 60\ninactive_file 200\n",
		"memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n",
		"cpu.stat":      "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 5000\n",
	})
	m, ok := cgroup.ReadMemory(dir)
	require.True(t, ok)
	require.Equal(t, cgroup.Memory{Usage: 900, Peak: 950, Anon: 300, Cache: 500, Inactive: 200, Swap: 7, Kernel: 60}, m)
	require.EqualValues(t, 700, m.Working())
	require.Equal(t, cgroup.OOM{Kills: 3, Hits: 2}, cgroup.ReadOOM(dir))
	c, ok := cgroup.ReadCPU(dir)
	require.True(t, ok)
	require.Equal(t, cgroup.CPU{User: 2 * time.Millisecond, System: time.Millisecond, Throttled: 5 * time.Millisecond, ThrottledPeriods: 4}, c)
}

func TestRead_version1(t *testing.T) {
	dir := tree(t, map[string]string{
		"memory.usage_in_bytes": "900\n", "memory.limit_in_bytes": "9223372036854771712\n", "memory.max_usage_in_bytes": "950\n",
		"memory.kmem.usage_in_bytes": "60\n",
		"memory.stat":                "rss 1\ntotal_rss 300\ntotal_cache 500\ntotal_inactive_file 200\ntotal_swap 7\n",
		"memory.oom_control":         "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"cpu.stat":                   "nr_periods 9\nnr_throttled 4\nthrottled_time 5000000\n",
	})
	m, ok := cgroup.ReadMemory(dir)
	require.True(t, ok)
	require.Equal(t, cgroup.Memory{Usage: 900, Peak: 950, Anon: 300, Cache: 500, Inactive: 200, Swap: 7, Kernel: 60}, m)
	require.Equal(t, cgroup.OOM{Kills: 3}, cgroup.ReadOOM(dir))
	_, ok = cgroup.ReadCPU(dir)
	require.False(t, ok, "cpu without cpuacct knows no times")
	for f, n := range map[string]string{"cpuacct.usage_user": "2000000", "cpuacct.usage_sys": "1000000"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, f), []byte(n), 0o600))
	}
	c, ok := cgroup.ReadCPU(dir)
	require.True(t, ok)
	require.Equal(t, cgroup.CPU{User: 2 * time.Millisecond, System: time.Millisecond, Throttled: 5 * time.Millisecond, ThrottledPeriods: 4}, c)
}

func TestRead_ofNothingIsNothing(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		_, ok := cgroup.ReadMemory(dir)
		require.False(t, ok)
		_, ok = cgroup.ReadCPU(dir)
		require.False(t, ok)
		require.Zero(t, cgroup.ReadOOM(dir))
	}
}

func TestVersion_saysWhyTasksCannotBeLimited(t *testing.T) {
	for name, c := range map[string]struct {
		files   map[string]string
		version int
		err     string
	}{
		"v2":           {map[string]string{"cgroup.controllers": "cpuset cpu io memory pids\n"}, 2, ""},
		"no memory":    {map[string]string{"cgroup.controllers": "cpu\n"}, 0, `the controller "memory" is not delegated`},
		"v1":           {map[string]string{"memory/cgroup.procs": ""}, 1, ""},
		"no hierarchy": {nil, 0, "no memory cgroup is mounted"},
	} {
		got, err := cgroup.Version(tree(t, c.files))
		require.Equal(t, c.version, got, name)
		if c.err == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.err, name)
		}
	}
}
