package driver

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// resources is what Nomad grants a task of its node.
type resources struct {
	MemoryMB    int64 // reserved
	MemoryMaxMB int64 // at most; 0: what is reserved, -1: no limit
	MHz         int64
	CPUs        string  // reserved cores; empty: none
	CPUPart     float64 // of all of the node's CPU time
}

func resourcesOf(c *drivers.TaskConfig) resources {
	var r resources
	if c.Resources == nil {
		return r
	}
	if n := c.Resources.NomadResources; n != nil {
		r.MemoryMB, r.MemoryMaxMB = n.Memory.MemoryMB, n.Memory.MemoryMaxMB
	}
	if l := c.Resources.LinuxResources; l != nil {
		r.MHz, r.CPUs, r.CPUPart = l.CPUShares, l.CpusetCpus, l.PercentTicks
	}
	return r
}

const mebibyte = 1 << 20

const maxOOMScore = 1000 // the kernel's

// bounds are what the engine may use.
type bounds struct {
	cgroup.Limits
	Rlimits  []shim.Rlimit
	OOMScore int
}

// bounds decides what the engine may use.
func (b *builder) bounds() {
	t, r := b.Task, b.Resources
	l := cgroup.Limits{Memory: r.MemoryMB * mebibyte, Shares: r.MHz, CPUs: r.CPUs}
	if r.MemoryMaxMB != 0 { // then what is reserved is only the share that is taken back last
		l.Memory, l.Reserve = max(r.MemoryMaxMB, 0)*mebibyte, r.MemoryMB*mebibyte
	}
	if t.UnlimitedMemory {
		l.Memory = 0
	}
	if b.DenyUnlimitedMemory && (t.UnlimitedMemory || r.MemoryMaxMB < 0) {
		b.fail(errors.New("unlimited_memory, or memory_max = -1: this node's operator wants a limit for every task (deny_unlimited_memory in the plugin's config); remove it, and reserve with resources.memory what the engine uses"))
	}
	if t.CPUHardLimit {
		l.Quota = time.Duration(r.CPUPart * float64(runtime.NumCPU()) * float64(cgroup.Period))
		if l.Quota <= 0 {
			b.fail(errors.New("cpu_hard_limit: Nomad did not say which part of the node's CPU is the task's; set resources.cpu"))
		}
	}
	if t.OOMScoreAdj < 0 || t.OOMScoreAdj > maxOOMScore {
		b.fail(fmt.Errorf("oom_score_adj = %d: want 0 to %d; the higher, the sooner the kernel picks the engine when the node runs out of memory", t.OOMScoreAdj, maxOOMScore))
	}
	limits, err := ulimits(b.Ulimit, b.UlimitMax, t.Ulimit, t.KVTransfer != nil)
	b.fail(err)
	if _, set := t.Ulimit["nproc"]; set && !b.Root {
		b.fail(errors.New("ulimit nproc: without root the limit would hold for the task's supervisor too; remove it or run the agent as root"))
	}
	b.Bounds = bounds{Limits: l, Rlimits: limits, OOMScore: t.OOMScoreAdj}
}
