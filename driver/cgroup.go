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
type cgroups struct {
	V2  string   // empty: not on version 2
	V1  []string // to join, on version 1
	Own string   // the one of either version that is this task's alone
}

func findCgroups(c *drivers.TaskConfig) cgroups {
	if c.Resources == nil || c.Resources.LinuxResources == nil {
		return cgroups{}
	}
	dir := c.Resources.LinuxResources.CpusetCgroupPath
	if dir == "" {
		return cgroups{}
	}
	scope := c.AllocID + "." + c.Name
	if exists(filepath.Join(dir, "cgroup.kill")) || exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		g := cgroups{V2: dir}
		if strings.HasPrefix(filepath.Base(dir), scope) {
			g.Own = dir
		}
		return g
	}
	// .../cpuset/<parent>/share or .../cpuset/<parent>/reserve/<scope>
	rest, ok := strings.CutPrefix(dir, filepath.Join(cgroupRoot, "cpuset")+"/")
	if !ok {
		return cgroups{}
	}
	parent, _, _ := strings.Cut(rest, "/reserve/")
	parent = strings.TrimSuffix(parent, "/share")
	freezer := filepath.Join(cgroupRoot, "freezer", parent, scope)
	var g cgroups
	for _, d := range []string{dir, freezer} {
		if exists(filepath.Join(d, "cgroup.procs")) {
			g.V1 = append(g.V1, d)
		}
	}
	if exists(freezer) {
		g.Own = freezer
	}
	return g
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
