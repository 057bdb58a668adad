package vllm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// model is the name that requests carry; the installed command serves its own tiny model under it.
const model = "meta-llama/Llama-3.1-8B-Instruct"

// server is one process that speaks vLLM's HTTP API. One goroutine waits for it; everyone else
// reads exited.
type server struct {
	name    string
	url     string
	log     string // path
	cmd     *exec.Cmd
	started time.Time
	exited  chan struct{} // closed when the process has gone; code is valid then
	code    atomic.Int64  // exit status, 128+n for signal n
}

// startServer runs COMMAND serve; role "" is a server without a connector.
func startServer(t *testing.T, command, role string, args ...string) *server {
	t.Helper()
	ports := freePorts(t, 2)
	s := &server{
		name: role, url: fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		log: filepath.Join(t.TempDir(), role+".log"),
	}
	argv := []string{"serve", model, "--host", "127.0.0.1", "--port", fmt.Sprint(ports[0]),
		"--max-model-len=2048", "--gpu-memory-utilization=0.90", "--max-num-seqs=8"}
	if kv := map[string]string{"prefill": "kv_producer", "decode": "kv_consumer"}[role]; kv != "" {
		argv = append(argv, "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"`+kv+`"}`)
	}
	s.cmd = exec.Command(command, append(argv, args...)...)
	s.cmd.Env = append(os.Environ(), "VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1", fmt.Sprintf("VLLM_NIXL_SIDE_CHANNEL_PORT=%d", ports[1]))
	s.start(t)
	return s
}

// start runs the command in a process group of its own until the test ends.
func (s *server) start(t *testing.T) {
	t.Helper()
	out, err := os.Create(s.log)
	require.NoError(t, err)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.started, s.exited = time.Now(), make(chan struct{})
	require.NoError(t, s.cmd.Start())
	go func() {
		defer out.Close()
		s.code.Store(exitCode(s.cmd.Wait()))
		// What it has left behind ends now: later the group's number may be another's.
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.killGroup()
		<-s.exited
		if t.Failed() {
			t.Logf("%s", s.tail(30))
		}
	})
}

func exitCode(err error) int64 {
	exit := new(exec.ExitError)
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return -1
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int64(ws.Signal())
	}
	return int64(exit.ExitCode())
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// killGroup ends the process and its children.
func (s *server) killGroup() {
	if s.alive() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}

func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// waitExit reports whether the process has gone in time.
func (s *server) waitExit(d time.Duration) bool {
	select {
	case <-s.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// waitHealthy polls /health and tells how far the server is, because real vLLM takes minutes where
// the cores are busy.
func (s *server) waitHealthy(t *testing.T, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	poll, report := time.NewTicker(200*time.Millisecond), time.NewTicker(15*time.Second)
	defer poll.Stop()
	defer report.Stop()
	for {
		select {
		case <-s.exited:
			t.Fatalf("%s ended with code %d before it was healthy:\n%s", s.name, s.code.Load(), s.tail(40))
		case <-ctx.Done():
			t.Fatalf("%s is not healthy after %s:\n%s", s.name, limit, s.tail(40))
		case <-report.C:
			t.Logf("%s: %3.0fs: %.120s", s.name, time.Since(s.started).Seconds(), s.tail(1))
		case <-poll.C:
			if healthy(ctx, s.url) {
				t.Logf("%s: healthy after %.1fs", s.name, time.Since(s.started).Seconds())
				return
			}
		}
	}
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the last n lines of the server's log.
func (s *server) tail(n int) string {
	raw, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePorts finds n TCP ports that are free, below those that the system gives
// to whoever connects: a server binds its own seconds later.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		for tries := 0; ports[i] == 0; tries++ {
			require.Less(t, tries, 1000, "no free port")
			port := 10_000 + rand.IntN(20_000)
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				defer l.Close()
				ports[i] = port
			}
		}
	}
	return ports
}

// buildCommand compiles one of the project's commands for the test.
func buildCommand(t *testing.T, pkg string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", bin, "github.com/nomad-vllm/nomad-vllm/"+pkg)
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	return bin
}
