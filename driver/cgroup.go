package driver

import (
	"fmt"
	"strings"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
)

// findCgroups finds the task's cgroups, which the Nomad client has made before
// it asks us to start the task, and kills and removes when the task is over.
func findCgroups(c *drivers.TaskConfig) cgroup.Dirs {
	if c.Resources == nil || c.Resources.LinuxResources == nil {
		return cgroup.Dirs{}
	}
	return cgroup.Find(c.Resources.LinuxResources.CpusetCgroupPath, c.AllocID+"."+c.Name)
}

// limit sets the task's limits before it starts.
func (d *Driver) limit(c *drivers.TaskConfig, dirs cgroup.Dirs, l cgroup.Limits) {
	for _, r := range dirs.Apply(l) {
		d.notEnforced(c, r)
	}
}

// checkInside says which limits do not hold because the task is not in the
// cgroup that has them, and returns the directories that do hold it.
func (d *Driver) checkInside(c *drivers.TaskConfig, dirs cgroup.Dirs, l cgroup.Limits, pid int) cgroup.Dirs {
	inside := dirs.Holding(pid)
	for _, lost := range []struct {
		limit    string
		wanted   bool
		dir, now string
	}{
		{cgroup.MemoryLimit, l.Memory > 0, dirs.Memory, inside.Memory},
		{cgroup.CPULimit, l.Quota > 0, dirs.CPU, inside.CPU},
		{cgroup.CPUShares, l.Shares > 0, dirs.CPU, inside.CPU},
		{cgroup.CPUSet, l.CPUs != "", dirs.CPUSet, inside.CPUSet},
	} {
		if lost.wanted && lost.dir != "" && lost.now == "" {
			d.notEnforced(c, cgroup.Refusal{Limit: lost.limit, Err: fmt.Errorf("the task could not be put into %s", lost.dir)})
		}
	}
	return inside
}

// notEnforced says that a limit does not hold: to the operator once in a
// plugin's life, and to the user with each task that asked for it. Everyone
// has CPU shares, and what is lost without them is seldom noticed.
func (d *Driver) notEnforced(c *drivers.TaskConfig, r cgroup.Refusal) {
	d.numbers.NotEnforced(r.Limit)
	d.warnOnce(r.Limit, "tasks run without their "+r.Limit, "reason", r.Err)
	if r.Limit != cgroup.CPUShares {
		d.event(c, fmt.Sprintf("Not enforced: %s (%s)", r.Limit, strings.TrimPrefix(r.Err.Error(), "open ")))
	}
}

// warnOnce warns of one thing once in a plugin's life.
func (d *Driver) warnOnce(about, message string, args ...any) {
	d.mu.Lock()
	again := d.warned[about]
	d.warned[about] = true
	d.mu.Unlock()
	if !again {
		d.log.Warn(message, args...)
	}
}
