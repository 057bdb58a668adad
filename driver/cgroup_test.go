package driver_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// cgroup2 makes a cgroup where this process may, and else names a directory
// that is none: the task must start either way.
func cgroup2(t *testing.T) (dir string, real bool) {
	f, err := os.Open("/proc/mounts")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[2] != "cgroup2" {
			continue
		}
		dir := filepath.Join(fields[1], "nomad-vllm-test-"+uuid.NewString())
		if os.Mkdir(dir, 0o755) == nil {
			t.Cleanup(func() {
				require.Eventually(t, func() bool { return os.Remove(dir) == nil }, soon, often)
			})
			return dir, true
		}
	}
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.kill"), nil, 0o600))
	return dir, false
}

func TestTask_isBornInItsCgroup(t *testing.T) {
	dir, real := cgroup2(t)
	d := newDriver(t, driver.Config{})
	k := newTask(t, "tree")
	k.Resources.LinuxResources.CpusetCgroupPath = dir
	k.start(d)
	pids := []int{k.said("ready"), k.said("child"), k.said("orphan"), shimPID(t, d, k.ID)}
	if real {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		require.NoError(t, err)
		for _, pid := range pids {
			require.Contains(t, strings.Fields(string(b)), strconv.Itoa(pid), "and so Nomad finds it")
		}
	}
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	gone(t, pids...)
}
