package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is what a task's processes use and may use, in bytes.
type Memory struct {
	Limit    uint64 `json:"limit,omitempty"` // 0: none
	Usage    uint64 `json:"usage,omitempty"` // all that counts against the limit
	Peak     uint64 `json:"peak,omitempty"`  // 0: the kernel does not say (version 2 before 5.19)
	Anon     uint64 `json:"anon,omitempty"`
	Cache    uint64 `json:"cache,omitempty"`
	Inactive uint64 `json:"inactive,omitempty"` // part of Cache that the kernel takes back first
	Swap     uint64 `json:"swap,omitempty"`
	Kernel   uint64 `json:"kernel,omitempty"`
}

// unlimited is above every limit that means one: version 1 says "none" with the
// largest number of whole pages.
const unlimited = 1 << 62

// ReadMemory reads the counters of a memory directory of either version; ok is
// false where there are none.
func ReadMemory(dir string) (m Memory, ok bool) {
	if dir == "" {
		return m, false
	}
	if m.Usage, ok = number(dir, "memory.current"); ok {
		s := table(dir, "memory.stat")
		m.Limit, _ = number(dir, "memory.max") // "max" is no number
		m.Peak, _ = number(dir, "memory.peak")
		m.Swap, _ = number(dir, "memory.swap.current")
		m.Anon, m.Cache, m.Inactive, m.Kernel = s["anon"], s["file"], s["inactive_file"], s["kernel"]
		return m, true
	}
	if m.Usage, ok = number(dir, "memory.usage_in_bytes"); !ok {
		return m, false
	}
	s := table(dir, "memory.stat")
	m.Limit, _ = number(dir, "memory.limit_in_bytes")
	if m.Limit >= unlimited {
		m.Limit = 0
	}
	m.Peak, _ = number(dir, "memory.max_usage_in_bytes")
	m.Kernel, _ = number(dir, "memory.kmem.usage_in_bytes")
	m.Anon, m.Cache, m.Inactive, m.Swap = s["total_rss"], s["total_cache"], s["total_inactive_file"], s["total_swap"]
	return m, true
}

// Working is what the task cannot do without: usage without the page cache that
// the kernel would take back before it kills anything.
func (m Memory) Working() uint64 { return m.Usage - min(m.Usage, m.Inactive) }

// OOM counts what the kernel did for lack of memory.
type OOM struct {
	Kills int64 `json:"kills"` // processes of the task that it killed
	Hits  int64 `json:"hits"`  // times that the task's own limit was the reason (version 2)
}

// ReadOOM reads the counts of a memory directory; all zero where nobody counts.
func ReadOOM(dir string) OOM {
	if dir == "" {
		return OOM{}
	}
	if t := table(dir, "memory.events"); t != nil {
		return OOM{Kills: int64(t["oom_kill"]), Hits: int64(t["oom"])}
	}
	// Version 1 has a count of failures, which recent kernels leave at 0.
	return OOM{Kills: int64(table(dir, "memory.oom_control")["oom_kill"])}
}

// pages is how far below the limit a peak may be that hit it.
const pages = 1 << 20

// AtLimit reports whether the task has been at its limit, or else it was the
// node that ran out of memory.
func (m Memory) AtLimit() bool { return m.Limit > 0 && m.Peak+pages > m.Limit }

// CPU is the CPU time of every process that ever was in the cgroup.
type CPU struct {
	User, System, Throttled time.Duration
	ThrottledPeriods        uint64
}

// ReadCPU reads a CPU directory of either version. On version 1 times are
// there only where the controllers cpu and cpuacct share a hierarchy, as most
// distributions have it.
func ReadCPU(dir string) (c CPU, ok bool) {
	if dir == "" {
		return c, false
	}
	s := table(dir, "cpu.stat")
	c.ThrottledPeriods = s["nr_throttled"]
	if user, found := s["user_usec"]; found {
		c.User, c.System = micros(user), micros(s["system_usec"])
		c.Throttled = micros(s["throttled_usec"])
		return c, true
	}
	user, foundUser := number(dir, "cpuacct.usage_user")
	system, foundSystem := number(dir, "cpuacct.usage_sys")
	c.User, c.System = time.Duration(user), time.Duration(system)
	c.Throttled = time.Duration(s["throttled_time"])
	return c, foundUser && foundSystem
}

func micros(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

func number(dir, name string) (uint64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// table reads a file of lines "name number"; nil: there is no such file.
func table(dir, name string) map[string]uint64 {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			out[k] = n
		}
	}
	return out
}
