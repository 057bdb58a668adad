package driver

import (
	"os"
	"strconv"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/shared/structs"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// fingerprintLimits tells which limits this node can hold a task to, for
// constraints, and once in the log what is missing.
func (d *Driver) fingerprintLimits(f *drivers.Fingerprint) {
	version, err := cgroup.Version(cgroup.Root)
	name := "none"
	if err == nil {
		name = "v" + strconv.Itoa(version)
	} else {
		d.warnOnce("cgroups", "no limits of memory and CPU on this node: a task that needs them wants the constraint ${attr.driver.vllm.cgroups} != none", "reason", err)
	}
	root := os.Geteuid() == 0
	if !root {
		d.warnOnce("root", "the driver runs without root: tasks run as its own user (no user setting), the kernel may kill their supervisors for memory, "+
			"and ulimits go no higher than the agent's own hard limits", "nofile", hardLimit(unix.RLIMIT_NOFILE), "memlock", hardLimit(unix.RLIMIT_MEMLOCK))
	}
	f.Attributes["driver.vllm.cgroups"] = structs.NewStringAttribute(name)
	f.Attributes["driver.vllm.root"] = structs.NewBoolAttribute(root)
}

func hardLimit(resource int) string {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return err.Error()
	}
	if l.Max == shim.Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(l.Max, 10)
}
