package cluster

import (
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

// Leftovers lists the processes that belong to the cluster with that state
// directory: those whose executable, working directory or command line lies
// under it.
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
	under := func(path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	var out []leftover
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, _ := os.Readlink("/proc/" + e.Name() + "/cwd")
		exe, _ := os.Readlink("/proc/" + e.Name() + "/exe")
		args, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		line := strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		// A zombie has no command line any more; its parent is about to reap it.
		if line != "" && (under(cwd) || under(exe) || strings.Contains(line, dir+"/")) {
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
	for _, l := range found {
		if strings.Contains(l.command, filepath.Join(dir, nomadConfig.Name())) {
			_ = syscall.Kill(l.pid, syscall.SIGTERM)
		}
	}
	// What does not end by itself with Nomad gone has lost its supervisor.
	for _, s := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if err := endLeftovers(ctx, dir, s); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("end what an earlier cluster left in %s", dir)
}

// endLeftovers signals all that is left and waits up to 20 s until it is gone.
func endLeftovers(ctx context.Context, dir string, s syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	t := time.NewTicker(poll)
	defer t.Stop()
	for first := true; ; first = false {
		found, err := leftovers(dir)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, l := range found {
			if first && s != 0 {
				_ = syscall.Kill(l.pid, s)
			}
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
