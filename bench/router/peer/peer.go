package peer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
	"github.com/nomad-vllm/nomad-vllm/bench/router/load"
	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
)

// Peer is one router, or none: a client that makes both legs itself.
type Peer struct {
	// Name is how tables call it.
	Name string
	// Version is what it says of itself.
	Version string
	// Plain says that it passes on one leg and knows nothing of two.
	Plain bool
	// Profiled says that it serves Go's profiles, and logs where.
	Profiled bool
	// command makes the command line for a port and the engines; nil for none.
	// dir is for the peer's files.
	command func(port int, at engine.Addresses, dir string) ([]string, error)
	// header is sent with each request.
	header func(at engine.Addresses) string
}

// Running is a peer that serves.
type Running struct {
	Peer
	Target load.Target
	cmd    *exec.Cmd
	ended  chan struct{}
	log    string
}

// Tree is the peer's processes; false for none.
func (r *Running) Tree() (proc.Tree, bool) {
	if r.cmd == nil {
		return proc.Tree{}, false
	}
	return proc.Tree{Root: r.cmd.Process.Pid}, true
}

// Start runs the peer in front of the engines and waits until it serves.
func (p Peer) Start(ctx context.Context, at engine.Addresses, dir string) (*Running, error) {
	if p.command == nil {
		return &Running{Peer: p, Target: load.Target{Addr: at.Decode[0], Prefill: at.Prefill[0]}}, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	own := filepath.Join(dir, p.Name)
	if err := os.MkdirAll(own, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	argv, err := p.command(port, at, own)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	r := &Running{Peer: p, ended: make(chan struct{}), log: filepath.Join(own, "log")}
	r.Target.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if p.header != nil {
		r.Target.Header = p.header(at)
	}
	out, err := os.Create(r.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer out.Close()
	r.cmd = exec.Command(argv[0], argv[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = out, out
	// A benchmark that is killed leaves no router behind.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	go func() { defer close(r.ended); _ = r.cmd.Wait() }()
	if err := r.waitReady(ctx); err != nil {
		r.Stop()
		return nil, fmt.Errorf("start %s: %w; its log ends:\n%s", p.Name, err, r.tail())
	}
	return r, nil
}

// waitReady asks for /health until there is any answer below 500.
func (r *Running) waitReady(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for limit := time.Now().Add(60 * time.Second); time.Now().Before(limit); {
		if resp, err := client.Get("http://" + r.Target.Addr + "/health"); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ended:
			return fmt.Errorf("it ended: %v", r.cmd.ProcessState)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("not ready after 60 s")
}

// Stop ends the peer's processes and waits for the first of them.
func (r *Running) Stop() {
	if r.cmd == nil {
		return
	}
	tree := proc.Tree{Root: r.cmd.Process.Pid}
	pids, err := tree.CPU()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(5 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	if err != nil {
		return
	}
	for pid := range pids { // what its parent left behind
		if pid != tree.Root {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Profiles is where the peer serves Go's profiles.
func (r *Running) Profiles() (string, error) {
	b, err := os.ReadFile(r.log)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`operators are served: address=(\S+)`).FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s has not logged where its profiles are", r.Name)
	}
	return "http://" + string(m[1]) + "/debug/pprof/", nil
}

// tail is the end of the peer's log.
func (r *Running) tail() []byte {
	b, err := os.ReadFile(r.log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[max(0, len(b)-2000):])
}

// freePort is a port that nobody listens on just now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
