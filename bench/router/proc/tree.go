package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a process and all of its descendants.
type Tree struct{ Root int }

// CPU is the user and system time that each process of the tree has used, by
// pid. It reads the processes' CPU clocks, which count nanoseconds and keep the
// time of ended threads; /proc/PID/stat has the same sum in ticks of 10 ms.
func (t Tree) CPU() (map[int]time.Duration, error) {
	pids, err := t.pids()
	if err != nil {
		return nil, err
	}
	used := map[int]time.Duration{}
	for _, pid := range pids {
		var ts unix.Timespec
		// The clock of a process, as clock_getcpuclockid(3) makes it.
		if err := unix.ClockGettime(int32(^uint32(pid)<<3|2), &ts); err != nil {
			return nil, fmt.Errorf("read the CPU clock of pid %d: %w", pid, err)
		}
		used[pid] = time.Duration(ts.Nano())
	}
	return used, nil
}

// Between is the time used from one reading to a later one. A process that
// ended in between took its figure with it, so that is an error.
func Between(before, after map[int]time.Duration) (time.Duration, error) {
	var sum time.Duration
	for pid, used := range after {
		sum += used - before[pid]
	}
	for pid := range before {
		if _, ok := after[pid]; !ok {
			return 0, fmt.Errorf("pid %d ended while it was measured", pid)
		}
	}
	return sum, nil
}

// RSS is the resident memory of the tree in bytes; pages that processes of the
// tree share count in each.
func (t Tree) RSS() (int64, error) {
	pids, err := t.pids()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("read memory: %w", err)
		}
		f := bytes.Fields(b)
		if len(f) < 2 {
			return 0, fmt.Errorf("read memory of pid %d: %q", pid, b)
		}
		pages, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of pid %d: %w", pid, err)
		}
		sum += pages * int64(os.Getpagesize())
	}
	return sum, nil
}

// pids lists the tree, the root first.
func (t Tree) pids() ([]int, error) {
	parent := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended since
		}
		// pid (command) state ppid: the command may hold anything, so from the right.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if len(f) > 1 && string(f[0]) != "Z" {
			parent[pid], _ = strconv.Atoi(string(f[1]))
		}
	}
	if _, ok := parent[t.Root]; !ok {
		return nil, fmt.Errorf("pid %d is gone", t.Root)
	}
	tree := []int{t.Root}
	for n := 0; n < len(tree); n++ {
		for pid, up := range parent {
			if up == tree[n] && !slices.Contains(tree, pid) {
				tree = append(tree, pid)
			}
		}
	}
	return tree, nil
}
