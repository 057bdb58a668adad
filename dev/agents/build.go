package agents

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Progress is called about once a second while an agent is being built, and
// once when it is done.
type Progress func(a Agent, compiled, total int, elapsed time.Duration)

// Build compiles the agent's pinned version into the cache and returns where
// it is. It takes minutes the first time; packages that Go's own build cache
// already holds are not compiled again. Two builds of the same agent at once
// (two checkouts, a test beside a demo) are serialised by a lock file.
func (a Agent) Build(ctx context.Context, cache string, report Progress) (Found, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return Found{}, fmt.Errorf("build %s %s: no go command on PATH; install Go, or install %s >= %s", a.Name, a.Pinned, a.Name, a.Least)
	}
	dir := filepath.Dir(a.cached(cache))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Found{}, fmt.Errorf("build %s: %w; set NOMAD_VLLM_CACHE to a writable directory", a.Name, err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return Found{}, fmt.Errorf("build %s: %w", a.Name, err)
	}
	defer unlock()
	if f, err := a.Locate(ctx, cache); err == nil { // somebody else built it meanwhile
		return f, nil
	}
	if err := a.writeModule(dir); err != nil {
		return Found{}, fmt.Errorf("build %s: %w", a.Name, err)
	}
	if err := a.compile(ctx, dir, report); err != nil {
		return Found{}, fmt.Errorf("build %s %s: %w", a.Name, a.Pinned, err)
	}
	return a.Locate(ctx, cache)
}

func (a Agent) writeModule(dir string) error {
	for _, f := range []struct{ from, to string }{{".mod", "go.mod"}, {".sum", "go.sum"}} {
		b, err := modules.ReadFile("modules/" + a.Name + f.from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.to), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compile runs the Go compiler with -v, which names each package as it is
// compiled: that is the progress. The binary appears under its name only when
// it is whole.
func (a Agent) compile(ctx context.Context, dir string, report Progress) error {
	start := time.Now()
	list := goCommand(ctx, dir, "list", "-mod=readonly", "-deps", a.Package)
	report(a, 0, 0, 0)
	out, err := list.Output()
	if err != nil {
		return commandError("fetch modules", err, nil)
	}
	total := bytes.Count(out, []byte("\n"))

	tmp := filepath.Join(dir, a.Name+".partial")
	build := goCommand(ctx, dir, "build", "-v", "-mod=readonly", "-ldflags=-s -w", "-o", tmp, a.Package)
	pipe, err := build.StderrPipe()
	if err != nil {
		return err
	}
	if err := build.Start(); err != nil {
		return err
	}
	tail := follow(pipe, func(n int) { report(a, n, total, time.Since(start)) })
	if err := build.Wait(); err != nil {
		return commandError("compile", err, tail)
	}
	if err := os.Rename(tmp, filepath.Join(dir, a.Name)); err != nil {
		return err
	}
	report(a, total, total, time.Since(start))
	return nil
}

// follow counts the compiler's lines until the pipe ends, telling tick about
// once a second also when nothing is printed (linking is silent), and returns
// the last lines.
func follow(pipe io.Reader, tick func(lines int)) []string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(pipe)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	every := time.NewTicker(time.Second)
	defer every.Stop()
	var tail []string
	n := 0
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				return tail
			}
			if !strings.HasPrefix(l, "go: ") { // downloads are not packages
				n++
			}
			if tail = append(tail, l); len(tail) > 20 {
				tail = tail[1:]
			}
		case <-every.C:
			tick(n)
		}
	}
}

// goCommand runs go in the agent's own module: the caller's flags, workspace
// and C compiler must not change what is built.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	c.WaitDelay = 5 * time.Second
	return c
}

func commandError(step string, err error, tail []string) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		tail = append(tail, strings.TrimSpace(string(exit.Stderr)))
	}
	if len(tail) == 0 {
		return fmt.Errorf("%s: %w", step, err)
	}
	return fmt.Errorf("%s: %w:\n%s", step, err, strings.Join(tail, "\n"))
}

// lock takes an advisory lock on a file and waits for whoever holds it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another build (%s): %w", path, ctx.Err())
		case <-poll.C:
		}
	}
}
