package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
)

// Unlimited is a resource limit that does not limit.
const Unlimited = ^uint64(0)

// Rlimit is one resource limit, as in setrlimit(2).
type Rlimit struct {
	Name     string `json:"name"` // "nofile", for messages
	Resource int    `json:"resource"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
	// Must makes it a mistake if the kernel refuses the limit. Without it the
	// limit is as high as it may be.
	Must bool `json:"must,omitempty"`
}

// legacy is what the shim's children inherit and the shim itself must not
// have: resource limits and an OOM score. Go forks and executes in one step,
// and a limit that comes afterwards comes too late for what the child has read
// or forked by then; so the shim takes the legacy on for the time of a fork.
// The limits that would harm a Go process in that time are not offered.
type legacy struct {
	rlimits []Rlimit
	score   int
	// protected: the kernel never picks the shim to gain memory, or the exit
	// code would go with it.
	protected bool
}

const (
	scoreFile     = "/proc/self/oom_score_adj"
	scoreImmortal = -1000
)

func newLegacy(spec Spec) legacy {
	return legacy{rlimits: spec.Rlimits, score: spec.OOMScore, protected: setScore(scoreImmortal) == nil}
}

func setScore(n int) error { return os.WriteFile(scoreFile, []byte(strconv.Itoa(n)), 0) }

// killAsOne asks the kernel to kill all of the task (but not the shim) when it
// kills one process of it: an API server whose engine is gone takes requests
// for minutes. Version 2 only; without it the engine's own checks must do.
func killAsOne(memory string) {
	if memory == "" {
		return
	}
	if f, err := os.OpenFile(filepath.Join(memory, "memory.oom.group"), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("1")
		f.Close()
	}
}

// fork starts a process with the legacy. The caller lets nobody else fork.
func (l legacy) fork(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	if l.protected {
		// An agent under systemd is often immortal itself, and the engine must not be.
		defer func() { _ = setScore(scoreImmortal) }()
	}
	_ = setScore(l.score) // refused: without root, below the agent's own
	for _, r := range l.rlimits {
		before, err := r.take()
		if err != nil {
			return 0, err
		}
		defer giveBack(r.Resource, before)
	}
	return syscall.ForkExec(path, argv, attr)
}

// take makes the limit the shim's own and returns the one of before.
func (r Rlimit) take() (syscall.Rlimit, error) {
	// Not x/sys: Go puts a remembered limit of open files into each child
	// until the syscall package itself has set one.
	var before syscall.Rlimit
	if err := syscall.Getrlimit(r.Resource, &before); err != nil {
		return before, fmt.Errorf("read limit %s: %w", r.Name, err)
	}
	err := syscall.Setrlimit(r.Resource, &syscall.Rlimit{Cur: r.Soft, Max: r.Hard})
	if errors.Is(err, unix.EPERM) && !r.Must {
		err = syscall.Setrlimit(r.Resource, &syscall.Rlimit{Cur: min(r.Soft, before.Max), Max: min(r.Hard, before.Max)})
	}
	if err != nil {
		return before, fmt.Errorf("ulimit %s = %s: %w; the agent's own hard limit is %s: raise that (Limit%s in its systemd unit) or ask for less",
			r.Name, limitText(r.Soft, r.Hard), err, limitText(before.Max, before.Max), strings.ToUpper(r.Name))
	}
	return before, nil
}

// giveBack restores a limit of the shim, as far as it may: without root a hard
// limit that was lowered stays, for the shim as for its children.
func giveBack(resource int, before syscall.Rlimit) {
	if syscall.Setrlimit(resource, &before) == nil {
		return
	}
	var now syscall.Rlimit
	if syscall.Getrlimit(resource, &now) == nil {
		_ = syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(before.Cur, now.Max), Max: now.Max})
	}
}

func limitText(soft, hard uint64) string {
	text := func(n uint64) string {
		if n == Unlimited {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	if soft == hard {
		return text(hard)
	}
	return text(soft) + ":" + text(hard)
}

// recordOOM notes whether the kernel killed a process of the task for memory.
// A killed engine core counts too, whatever the API server then exits with.
func (s *supervisor) recordOOM() {
	now := cgroup.ReadOOM(s.spec.Memory)
	since := cgroup.OOM{Kills: now.Kills - s.oomStart.Kills, Hits: now.Hits - s.oomStart.Hits}
	if since.Kills <= 0 {
		return
	}
	s.record.OOM, s.record.OOMs = true, &since
	if m, ok := cgroup.ReadMemory(s.spec.Memory); ok {
		s.record.Memory = &m
	}
}
