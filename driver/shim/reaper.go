package shim

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper owns every child of the shim, the adopted ones included. Nothing else
// may wait for a process: os/exec and wait4(-1) would take each other's.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus // children that we started and not yet reaped
	legacy  legacy                          // what they are born with
	closed  bool                            // nothing is started any more
}

func newReaper() *reaper { return &reaper{waiting: map[int]chan syscall.WaitStatus{}} }

// child is one process that the shim itself started. It leads a session.
type child struct {
	Proc
	reaper *reaper
	exited <-chan syscall.WaitStatus
}

// spawn starts a process; the first one must be started before run.
func (r *reaper) spawn(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock() // so that run finds the new PID, however short its life
	if r.closed {
		return nil, ErrEnded
	}
	pid, err := r.legacy.fork(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("execute %s: %w", path, err)
	}
	ch := make(chan syscall.WaitStatus, 1)
	r.waiting[pid] = ch
	// Not reaped yet, so the PID is still its own, even if it is dead already.
	st, err := ReadStat(pid)
	if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return &child{Proc: st.Proc, reaper: r, exited: ch}, nil
}

// ErrEnded answers who wants to run something in a task that is over.
var ErrEnded = errors.New("the task has ended")

// close makes sure that nothing is started any more.
func (r *reaper) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// closeIfIdle does so if nothing runs.
func (r *reaper) closeIfIdle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) > 0 {
		return false
	}
	r.closed = true
	return true
}

// run reaps until there are no children left, and then there will be none.
func (r *reaper) run() {
	for {
		var ws syscall.WaitStatus
		// Peek without reaping, so that the status is delivered and the PID
		// given up in one step under the lock.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			if r.closeIfIdle() {
				return
			}
			continue
		}
		r.mu.Lock()
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if ch := r.waiting[pid]; err == nil && ch != nil {
			delete(r.waiting, pid)
			ch <- ws
		}
		r.mu.Unlock()
	}
}

// signalGroup sends sig to the child's process group, or returns
// os.ErrProcessDone when the child has been reaped and its PID may be another's.
func (c *child) signalGroup(sig syscall.Signal) error {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	if c.reaper.waiting[c.PID] == nil {
		return os.ErrProcessDone
	}
	if err := syscall.Kill(-c.PID, sig); errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("send %s to process group %d: %w", unix.SignalName(sig), c.PID, err)
	}
	return nil
}

const (
	killFirstPause = 2 * time.Millisecond
	killMaxPause   = 100 * time.Millisecond
	killLimit      = 10 * time.Second // for processes stuck in the kernel, in a GPU driver say
)

// killTree kills everything below root and returns when nothing is left, or
// says what is still there after killLimit. It goes round until it finds
// nothing, because a process may fork between being listed and being killed.
func killTree(root int) error {
	pause := killFirstPause
	for deadline := time.Now().Add(killLimit); ; pause = min(2*pause, killMaxPause) {
		all, err := Processes()
		if err != nil {
			return err
		}
		left := Descendants(all, root)
		if len(left) == 0 {
			return nil
		}
		for _, s := range left {
			_ = s.Signal(unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill: %d processes (%d first) do not die", len(left), left[0].PID)
		}
		time.Sleep(pause)
	}
}
