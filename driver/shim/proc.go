package shim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Proc identifies one process for as long as the machine is up: a PID alone
// may by now belong to someone else, who must never be signalled.
type Proc struct {
	PID   int    `codec:"pid" json:"pid"`
	Start uint64 `codec:"start" json:"start"` // clock ticks from boot to its start
}

// Stat is what /proc/PID/stat says of a process, as far as we need it.
type Stat struct {
	Proc
	State   byte
	PPID    int
	Group   int
	Session int
	User    uint64 // clock ticks in user mode
	System  uint64 // clock ticks in kernel mode
	// The same of the children that it has waited for, and of theirs.
	ChildUser, ChildSystem uint64
	RSS                    uint64 // pages
}

// ReadStat reads one process. A process that is gone gives os.ErrNotExist or ESRCH.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return parseStat(pid, b)
}

// parseStat reads the line from its last ')', because a process may call
// itself anything, ") R 1 1" included.
func parseStat(pid int, line []byte) (Stat, error) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return Stat{}, fmt.Errorf("stat of process %d: no name in %q", pid, line)
	}
	f := strings.Fields(string(line[end+1:]))
	const fields = 22 // up to rss
	if len(f) < fields || len(f[0]) != 1 {
		return Stat{}, fmt.Errorf("stat of process %d: %d fields in %q", pid, len(f), line)
	}
	s := Stat{Proc: Proc{PID: pid}, State: f[0][0]}
	var err error
	number := func(i int) uint64 {
		n, e := strconv.ParseInt(f[i], 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("stat of process %d: field %d: %w", pid, i+3, e)
		}
		return uint64(max(n, 0))
	}
	s.PPID, s.Group, s.Session = int(number(1)), int(number(2)), int(number(3))
	s.User, s.System = number(11), number(12)
	s.ChildUser, s.ChildSystem = number(13), number(14)
	s.Start, s.RSS = number(19), number(21)
	return s, err
}

// dead reports whether the process only waits to be reaped.
func (s Stat) dead() bool { return s.State == 'Z' || s.State == 'X' }

// Alive reports whether this very process still runs.
func (p Proc) Alive() bool {
	s, err := ReadStat(p.PID)
	return err == nil && s.Start == p.Start && !s.dead()
}

// Signal sends sig to this very process, or returns os.ErrProcessDone. It
// holds the process by a pidfd while it compares the start time, so that the
// PID cannot change hands in between.
func (p Proc) Signal(sig unix.Signal) error {
	if p.PID <= 1 {
		return fmt.Errorf("signal process %d: not a task's process", p.PID)
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case err != nil: // a kernel before 5.3: the check below is all there is
		if !p.Alive() {
			return os.ErrProcessDone
		}
		return unix.Kill(p.PID, sig)
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return os.ErrProcessDone
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), p.PID, err)
	}
	return nil
}

// Processes lists every process that we can see.
func Processes() ([]Stat, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []Stat
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := ReadStat(pid); err == nil { // gone meanwhile: not there
			out = append(out, s)
		}
	}
	return out, nil
}

// Descendants picks from all the live processes below root, root excluded.
func Descendants(all []Stat, root int) []Stat {
	return slices.DeleteFunc(Family(all, root), Stat.dead)
}

// Family is the same with those that only wait to be reaped: the CPU time that
// they used is on no one else's account yet.
func Family(all []Stat, root int) []Stat {
	children := map[int][]Stat{}
	for _, s := range all {
		children[s.PPID] = append(children[s.PPID], s)
	}
	var out []Stat
	seen := map[int]bool{root: true}
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		for _, c := range children[todo[0]] {
			if seen[c.PID] { // the list was not read at one instant
				continue
			}
			seen[c.PID] = true
			todo = append(todo, c.PID)
			out = append(out, c)
		}
	}
	return out
}

// BootID changes with every boot of the machine; start times count from one.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
