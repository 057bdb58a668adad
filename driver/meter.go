package driver

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every
// architecture that Go and CUDA run on.
const clockTick = 10 * time.Millisecond

// ownCgroups are those that count this task alone; what the task was never put
// into counts something else.
func (h *handle) ownCgroups() cgroup.Dirs {
	dirs := findCgroups(h.cfg)
	if dirs.Shared {
		return cgroup.Dirs{}
	}
	return dirs.Holding(h.state.Started.Shim.PID)
}

// meter measures one task. The cgroup's own counters are the truth, processes
// that have come and gone included; where there are none it adds up processes.
type meter struct {
	mhz  float64
	root shim.Proc
	dirs cgroup.Dirs

	at    time.Time
	last  map[shim.Proc]cpuTime
	total cpuTime
}

type cpuTime struct{ user, system time.Duration }

func ticks(user, system uint64) cpuTime {
	return cpuTime{time.Duration(user) * clockTick, time.Duration(system) * clockTick}
}

func (t cpuTime) plus(u cpuTime) cpuTime { return cpuTime{t.user + u.user, t.system + u.system} }

// atLeast keeps a counter from falling: a process may be seen alive and, when
// its parent is read, on the parent's account as well.
func (t cpuTime) atLeast(u cpuTime) cpuTime {
	return cpuTime{max(t.user, u.user), max(t.system, u.system)}
}

// measure looks at every process below the supervisor; nil: there is none.
func (m *meter) measure(now time.Time) *drivers.TaskResourceUsage {
	root, err := shim.ReadStat(m.root.PID)
	if err != nil || !m.root.Alive() {
		return nil
	}
	all, err := shim.Processes()
	if err != nil {
		return nil
	}
	first, elapsed := m.last == nil, now.Sub(m.at)
	next := map[shim.Proc]cpuTime{}
	pids := map[string]*drivers.ResourceUsage{}
	sum := ticks(root.ChildUser, root.ChildSystem) // of the supervisor itself: orphans
	var memory drivers.MemoryStats
	for _, s := range shim.Family(all, m.root.PID) {
		t := ticks(s.User, s.System)
		sum = sum.plus(t).plus(ticks(s.ChildUser, s.ChildSystem))
		next[s.Proc] = t
		one := drivers.MemoryStats{RSS: s.RSS * uint64(os.Getpagesize()), Swap: swapped(s.PID)}
		memory.Add(&one)
		var used cpuTime
		if !first { // a process that is new since then has all its time since then
			used = cpuTime{t.user - m.last[s.Proc].user, t.system - m.last[s.Proc].system}
		}
		pids[strconv.Itoa(s.PID)] = &drivers.ResourceUsage{MemoryStats: ofProcesses(one), CpuStats: m.rate(used, elapsed)}
	}
	before := m.total
	c, counted := cgroup.ReadCPU(m.dirs.CPU)
	if counted {
		sum = cpuTime{c.User, c.System}
	}
	m.total, m.last, m.at = sum.atLeast(before), next, now
	var used cpuTime
	if !first {
		used = cpuTime{m.total.user - before.user, m.total.system - before.system}
	}
	usage := &drivers.ResourceUsage{MemoryStats: ofProcesses(memory), CpuStats: m.rate(used, elapsed)}
	if counted {
		usage.CpuStats.ThrottledPeriods, usage.CpuStats.ThrottledTime = c.ThrottledPeriods, uint64(c.Throttled)
		usage.CpuStats.Measured = append(usage.CpuStats.Measured, "Throttled Periods", "Throttled Time")
	}
	if c, ok := cgroup.ReadMemory(m.dirs.Memory); ok {
		usage.MemoryStats = ofCgroup(c)
	}
	return &drivers.TaskResourceUsage{ResourceUsage: usage, Timestamp: now.UTC().UnixNano(), Pids: pids}
}

// ofCgroup counts shared memory once. Usage, the one number that the
// autoscaler's built-in memory queries read, leaves out the page cache that the
// kernel would take back first: with the weights of a model in it, a task would
// always look full.
func ofCgroup(c cgroup.Memory) *drivers.MemoryStats {
	s := &drivers.MemoryStats{
		RSS: c.Anon, Cache: c.Cache, Swap: c.Swap,
		Usage: c.Working(), MaxUsage: c.Peak, KernelUsage: c.Kernel,
		Measured: []string{"RSS", "Cache", "Swap", "Usage", "Kernel Usage"},
	}
	if c.Peak > 0 {
		s.Measured = append(s.Measured, "Max Usage")
	}
	return s
}

// ofProcesses counts memory that processes share once for each of them. To
// count it once (PSS), the kernel would walk the page tables of a process of
// hundreds of gigabytes under its lock, and stall the engine.
func ofProcesses(s drivers.MemoryStats) *drivers.MemoryStats {
	s.Usage = s.RSS
	s.Measured = []string{"RSS", "Swap", "Usage"}
	return &s
}

// rate is in percent of one core.
func (m *meter) rate(used cpuTime, elapsed time.Duration) *drivers.CpuStats {
	percent := func(d time.Duration) float64 {
		if elapsed <= 0 {
			return 0
		}
		return float64(d) / float64(elapsed) * 100
	}
	s := &drivers.CpuStats{
		UserMode: percent(used.user), SystemMode: percent(used.system), Percent: percent(used.user + used.system),
		Measured: []string{"System Mode", "User Mode", "Percent"},
	}
	if m.mhz > 0 {
		s.TotalTicks = s.Percent / 100 * m.mhz
		s.Measured = append(s.Measured, "Total Ticks")
	}
	return s
}

// swapped is how much of a process is swapped out.
func swapped(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(b, []byte("\nVmSwap:"))
	if !ok {
		return 0
	}
	line, _, _ := strings.Cut(string(rest), "\n")
	kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
