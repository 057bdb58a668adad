package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leftover is a process that belongs to a state directory.
type leftover struct {
	pid     int
	command string
}

func (l leftover) String() string { return strconv.Itoa(l.pid) + " " + l.command }

// marker is in the environment of the agents, and so of whatever they start:
// "NOMAD_VLLM_STATE=<absolute state directory>". A process that merely works in
// the directory, or names it on its command line, is not the cluster's.
const marker = "NOMAD_VLLM_STATE="

// Leftovers lists the processes that belong to the cluster with that state
// directory: those that carry its marker, and those that run one of its
// plugins (a shim writes its title over its environment).
func Leftovers(dir string) ([]string, error) {
	found, err := leftovers(dir)
	out := make([]string, len(found))
	for i, l := range found {
		out[i] = l.String()
	}
	return out, err
}

func leftovers(dir string) ([]leftover, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	plugins := filepath.Join(dir, "plugins") + "/"
	var out []leftover
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		exe, _ := os.Readlink("/proc/" + e.Name() + "/exe")
		args, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		line := strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		// A zombie has no command line any more; its parent is about to reap it.
		marked := bytes.Contains(append([]byte{0}, env...), []byte("\x00"+marker+dir+"\x00"))
		if line != "" && (marked || strings.HasPrefix(exe, plugins)) {
			out = append(out, leftover{pid, line})
		}
	}
	return out, nil
}

// takeOver ends what a cluster left running whose owner was killed before it
// could stop it: first Nomad, which ends its tasks, then the rest.
func takeOver(ctx context.Context, dir string, say func(string, ...any)) error {
	found, err := leftovers(dir)
	if err != nil || len(found) == 0 {
		return err
	}
	say("stopping %d processes that an earlier cluster left in %s", len(found), dir)
	nomad := func(l leftover) bool { return strings.Contains(l.command, filepath.Join(dir, nomadConfig.Name())) }
	all := func(leftover) bool { return true }
	for _, step := range []struct {
		who  func(leftover) bool
		s    syscall.Signal
		wait time.Duration
	}{{nomad, syscall.SIGTERM, 20 * time.Second}, {all, syscall.SIGTERM, 10 * time.Second}, {all, syscall.SIGKILL, 10 * time.Second}} {
		if err = endLeftovers(ctx, dir, step.who, step.s, step.wait); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// endLeftovers signals those that who picks and waits until they are gone. The
// error says what is left of all of them.
func endLeftovers(ctx context.Context, dir string, who func(leftover) bool, s syscall.Signal, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t := time.NewTicker(poll)
	defer t.Stop()
	for first := true; ; first = false {
		found, err := leftovers(dir)
		if err != nil || len(found) == 0 {
			return err
		}
		waiting := false
		for _, l := range found {
			if who(l) {
				waiting = true
				if first {
					_ = syscall.Kill(l.pid, s)
				}
			}
		}
		if !waiting {
			return fmt.Errorf("still running: %v", found)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still running: %v", found)
		case <-t.C:
		}
	}
}

// unmount detaches what is mounted under dir: an agent that was killed leaves
// its tasks' secrets directories behind as mounts, which cannot be removed.
func unmount(dir string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var errs []error
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := syscall.Unmount(f[1], syscall.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", f[1], err))
			}
		}
	}
	return errors.Join(errs...)
}

// claim empties the state directory for a new cluster: the data of the one
// before would bring its jobs back. A directory that holds something else is
// refused, since its owner would not want it emptied.
func claim(dir string) error {
	sign := filepath.Join(dir, ".nomad-vllm")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(sign); err != nil && len(entries) > 0 {
		return errors.New("it holds files that are not a cluster's; choose another directory (-state), or empty it yourself")
	}
	if err := unmount(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(sign, []byte("State of nomad-vllm dev. The next run empties this directory.\n"), 0o644)
}

// own takes the state directory for this process, so that two clusters never
// share one. The lock lies beside the directory, which is emptied at the start.
func own(dir string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another cluster uses it; stop that one, or choose another directory (-state)")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
