package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Period is how often a CPU quota is refilled; the kernel's own default.
const Period = 100 * time.Millisecond

const minQuota = time.Millisecond // the kernel's

// Limits are what a task may use. A zero field sets no limit.
type Limits struct {
	Memory  int64 // bytes, page cache and pinned host memory included; what is above is killed
	Reserve int64 // bytes that the kernel takes away last when the node runs short
	// Shares weigh the task against its neighbours when all want the CPU: its MHz.
	Shares int64
	// Quota is the CPU time in each Period.
	Quota time.Duration
	CPUs  string // cores, as "0-3,8"
}

// Refusal is a limit that does not hold.
type Refusal struct {
	Limit string // MemoryLimit, CPULimit, CPUShares or CPUSet
	Err   error
}

// The limits that can be refused.
const (
	MemoryLimit = "memory limit"
	CPULimit    = "CPU limit"
	CPUShares   = "CPU shares"
	CPUSet      = "reserved cores"
)

var errNone = errors.New("no cgroup")

// Apply sets the limits and returns those that it could not set.
func (d Dirs) Apply(l Limits) []Refusal {
	var out []Refusal
	try := func(limit string, wanted bool, set func() error) {
		if !wanted {
			return
		}
		if err := set(); err != nil {
			out = append(out, Refusal{limit, err})
		}
	}
	try(MemoryLimit, l.Memory > 0, func() error { return d.limitMemory(l.Memory) })
	if l.Reserve > 0 {
		// Help under pressure, not a promise: nothing is lost without it.
		_ = d.set(d.Memory, map[int]string{1: "memory.soft_limit_in_bytes", 2: "memory.low"}, strconv.FormatInt(l.Reserve, 10))
	}
	try(CPULimit, l.Quota > 0, func() error { return d.limitCPU(max(l.Quota, minQuota)) })
	try(CPUShares, l.Shares > 0, func() error {
		if d.Version == 2 {
			return d.set(d.CPU, map[int]string{2: "cpu.weight"}, strconv.FormatUint(weight(l.Shares), 10))
		}
		return d.set(d.CPU, map[int]string{1: "cpu.shares"}, strconv.FormatInt(max(l.Shares, 2), 10))
	})
	try(CPUSet, l.CPUs != "", func() error {
		return d.set(d.CPUSet, map[int]string{1: "cpuset.cpus", 2: "cpuset.cpus"}, l.CPUs)
	})
	return out
}

// limitMemory leaves no swap either: an engine that swaps answers in minutes
// and passes its health check all the while.
func (d Dirs) limitMemory(bytes int64) error {
	value := strconv.FormatInt(bytes, 10)
	if d.Version == 2 {
		err := d.set(d.Memory, map[int]string{2: "memory.max"}, value)
		_ = d.set(d.Memory, map[int]string{2: "memory.swap.max"}, "0") // not there in a kernel without swap
		return err
	}
	both := map[int]string{1: "memory.memsw.limit_in_bytes"} // not there without swap accounting
	_ = d.set(d.Memory, both, "-1")                          // or a limit of before may be below the new one
	err := d.set(d.Memory, map[int]string{1: "memory.limit_in_bytes"}, value)
	_ = d.set(d.Memory, both, value)
	_ = d.set(d.Memory, map[int]string{1: "memory.swappiness"}, "0")
	return err
}

func (d Dirs) limitCPU(quota time.Duration) error {
	q, p := strconv.FormatInt(quota.Microseconds(), 10), strconv.FormatInt(Period.Microseconds(), 10)
	if d.Version == 2 {
		return d.set(d.CPU, map[int]string{2: "cpu.max"}, q+" "+p)
	}
	return errors.Join(
		d.set(d.CPU, map[int]string{1: "cpu.cfs_period_us"}, p),
		d.set(d.CPU, map[int]string{1: "cpu.cfs_quota_us"}, q))
}

// set writes the file that has this name on the task's version. It makes no
// file: one that is not there is a controller that is not there.
func (d Dirs) set(dir string, names map[int]string, value string) error {
	name := names[d.Version]
	switch {
	case d.Version == 0:
		return fmt.Errorf("%w: Nomad's client has made none for the task", errNone)
	case d.Shared:
		return fmt.Errorf("%w of the task's own: %s is shared", errNone, dir)
	case dir == "":
		return fmt.Errorf("%w with %s", errNone, name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// weight puts version 1's shares (2 to 262144, 1024 is usual) on version 2's
// scale (1 to 10000, 100 is usual). The curve through those three points is
// the one that runc and Nomad's own drivers use: neighbours in one slice must
// be weighed alike.
func weight(shares int64) uint64 {
	if shares <= 2 {
		return 1
	}
	if shares >= 262144 {
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}
