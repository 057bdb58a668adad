package driver

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups finds the task's cgroups, which the Nomad client has made before it
// asks us to start the task, and kills and removes when the task is over. On
// version 2 it is one directory; on version 1 the freezer is what the client
// finds processes by.
func cgroups(c *drivers.TaskConfig) (v2 string, v1 []string) {
	if c.Resources == nil || c.Resources.LinuxResources == nil {
		return "", nil
	}
	dir := c.Resources.LinuxResources.CpusetCgroupPath
	if dir == "" {
		return "", nil
	}
	if exists(filepath.Join(dir, "cgroup.kill")) || exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		return dir, nil
	}
	// .../cpuset/<parent>/share or .../cpuset/<parent>/reserve/<scope>
	rest, ok := strings.CutPrefix(dir, filepath.Join(cgroupRoot, "cpuset")+"/")
	if !ok {
		return "", nil
	}
	parent, _, _ := strings.Cut(rest, "/reserve/")
	parent = strings.TrimSuffix(parent, "/share")
	freezer := filepath.Join(cgroupRoot, "freezer", parent, c.AllocID+"."+c.Name)
	for _, d := range []string{dir, freezer} {
		if exists(filepath.Join(d, "cgroup.procs")) {
			v1 = append(v1, d)
		}
	}
	return "", v1
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
