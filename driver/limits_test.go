package driver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

const cgroupRoot = "/sys/fs/cgroup"

// nomadCgroups makes a task's cgroups as Nomad's client does, on whichever
// version the machine has, and removes them when the test is over. Where that
// is not allowed the task has none, as under an agent without root.
func nomadCgroups(t *testing.T, k *task) (made bool) {
	t.Helper()
	parent, scope := "nomad-vllm-test-"+uuid.NewString(), k.AllocID+"."+k.Name
	var dirs []string
	mkdir := func(path ...string) string {
		dir := filepath.Join(append([]string{cgroupRoot}, path...)...)
		made = os.MkdirAll(dir, 0o755) == nil
		dirs = append(dirs, dir)
		return dir
	}
	t.Cleanup(func() {
		for i := len(dirs) - 1; i >= 0; i-- {
			require.Eventually(t, func() bool { err := os.Remove(dirs[i]); return err == nil || os.IsNotExist(err) }, soon, often)
		}
	})
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		top := mkdir(parent)
		made = made && os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte("+memory +cpu +cpuset"), 0) == nil
		if made {
			k.Resources.LinuxResources.CpusetCgroupPath = mkdir(parent, scope+".scope")
		}
		return made
	}
	if os.Geteuid() != 0 {
		return false
	}
	for _, controller := range []string{"memory", "cpu", "freezer"} {
		mkdir(controller, parent)
		if mkdir(controller, parent, scope); !made {
			return false
		}
	}
	for _, dir := range []string{mkdir("cpuset", parent), mkdir("cpuset", parent, "share")} {
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			b, err := os.ReadFile(filepath.Join(cgroupRoot, "cpuset", f))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, f), b, 0))
		}
		k.Resources.LinuxResources.CpusetCgroupPath = dir
	}
	return made
}

// Nomad removes a task's cgroups as soon as the task is destroyed, and tries once.
func TestLimits_aDestroyedTaskLeavesItsCgroupsEmpty(t *testing.T) {
	d := newDriver(t, driver.Config{})
	for range 5 {
		k := newTask(t, "tree")
		made := nomadCgroups(t, k)
		k.start(d)
		k.said("ready")
		require.NoError(t, d.StopTask(k.ID, 0, "SIGKILL"))
		require.NoError(t, d.DestroyTask(k.ID, false))
		if !made {
			continue
		}
		scope := k.AllocID + "." + k.Name + "*"
		own, err := filepath.Glob(filepath.Join(cgroupRoot, "*", scope)) // version 2
		require.NoError(t, err)
		v1, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "*", scope))
		require.NoError(t, err)
		own = append(own, v1...)
		require.NotEmpty(t, own)
		for _, dir := range own {
			require.NoError(t, os.Remove(dir))
		}
	}
}

const limitMB = 192 // leaves room for two test binaries with the race detector

func TestLimits_aTaskThatEatsTooMuchIsKilledAndSaysWhy(t *testing.T) {
	for _, behaviour := range []string{"eat", "eatcore"} {
		t.Run(behaviour, func(t *testing.T) {
			d := newDriver(t, driver.Config{})
			events := subscribe(t, d)
			k := newTask(t, behaviour+":1024")
			k.Resources.NomadResources.Memory.MemoryMB = limitMB
			if !nomadCgroups(t, k) {
				k.start(d)
				eventsUntil(t, k, events, "Not enforced: memory limit (")
				return
			}
			k.start(d)
			pid := shimPID(t, d, k.ID)
			res := k.wait(d)
			require.True(t, res.OOMKilled, "%+v", res)
			require.False(t, res.Successful(), "whatever the API server says")
			told := eventsUntil(t, k, events, "Ended unasked")
			require.Regexp(t, fmt.Sprintf(`out of memory: the kernel killed [12] of the task's processes \(limit %d MiB, peak %d MiB\)\. To do: raise resources\.memory`, limitMB, limitMB), told[len(told)-1])
			gone(t, pid)
		})
	}
}

func TestLimits_unlimitedMemoryIsThat(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "eat:256", func(c *driver.TaskConfig) { c.UnlimitedMemory = true })
	k.Resources.NomadResources.Memory.MemoryMB = 64
	nomadCgroups(t, k)
	k.start(d)
	k.said("ready")
}

// The shim stays when the kernel looks for memory, and what it starts does not
// inherit that from it.
func TestLimits_theEngineHasAnOOMScoreOfItsOwn(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tree", func(c *driver.TaskConfig) { c.OOMScoreAdj = 300 })
	k.start(d)
	k.said("ready")
	score := func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	for _, name := range []string{"ready", "child", "orphan"} {
		require.Equal(t, "300", score(k.said(name)), name)
	}
	res, err := d.ExecTask(k.ID, []string{"cat", "/proc/self/oom_score_adj"}, soon)
	require.NoError(t, err)
	require.Equal(t, "300", strings.TrimSpace(string(res.Stdout)))
	if maySetAnything(t) {
		require.Equal(t, "-1000", score(shimPID(t, d, k.ID)))
	}
}

func TestLimits_ulimitsHoldForTheEngineAndItsExecsOnly(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tree", func(c *driver.TaskConfig) {
		c.Ulimit = map[string]string{"nofile": "300:512", "memlock": "64KiB", "core": "0"}
	})
	k.start(d)
	// A Go program, as this engine is, raises its own soft limit of open files.
	want := map[string][]string{"Max locked memory": {"65536", "65536"}, "Max core file size": {"0", "0"}}
	for _, name := range []string{"ready", "child", "orphan"} {
		require.Subset(t, ulimitsOf(t, k.said(name)), want, name)
		require.Equal(t, "512", ulimitsOf(t, k.said(name))["Max open files"][1], name)
	}
	want["Max open files"] = []string{"300", "512"}
	res, err := d.ExecTask(k.ID, []string{"cat", "/proc/self/limits"}, soon)
	require.NoError(t, err)
	require.Subset(t, parseLimits(string(res.Stdout)), want)
	if maySetAnything(t) {
		require.NotEqual(t, "512", ulimitsOf(t, shimPID(t, d, k.ID))["Max open files"][1])
	}
}

func TestLimits_openFilesAreRaisedByDefault(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	k.said("ready")
	res, err := d.ExecTask(k.ID, []string{"cat", "/proc/self/limits"}, soon)
	require.NoError(t, err)
	files := parseLimits(string(res.Stdout))["Max open files"]
	require.Equal(t, files[1], files[0], "soft is hard")
	if maySetAnything(t) {
		require.Equal(t, "1048576", files[1])
	}
}

func TestLimits_aLimitThatTheKernelRefusesIsNamed(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve", func(c *driver.TaskConfig) { c.Ulimit = map[string]string{"nofile": "9999999999"} })
	_, _, err := d.StartTask(k.TaskConfig)
	require.ErrorContains(t, err, "ulimit nofile = 9999999999: operation not permitted; the agent's own hard limit is")
	require.ErrorContains(t, err, "LimitNOFILE")
}

// maySetAnything reports whether this process has CAP_SYS_RESOURCE. Root has
// not, in many containers.
func maySetAnything(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(b), "CapEff:")
	require.True(t, found)
	caps, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	require.NoError(t, err)
	return caps&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func ulimitsOf(t *testing.T, pid int) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	require.NoError(t, err)
	return parseLimits(string(b))
}

// parseLimits reads /proc/PID/limits, whose columns are as wide as they are.
func parseLimits(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		if len(line) < 67 {
			continue
		}
		out[strings.TrimSpace(line[:26])] = []string{strings.TrimSpace(line[26:47]), strings.TrimSpace(line[47:68])}
	}
	return out
}
