package peer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
)

func shell(script string) Peer {
	return Peer{Name: "shell", command: func(_ int, _ engine.Addresses, dir string) ([]string, error) {
		return []string{"sh", "-c", "cd " + dir + "; " + script}, nil
	}}
}

func TestStart_saysWhyAPeerEnded(t *testing.T) {
	_, err := shell("echo no such setting >&2; exit 3").Start(t.Context(), engine.Addresses{}, t.TempDir())
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "no such setting")
}

func TestStart_leavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	child := 0
	go func() {
		for ctx.Err() == nil {
			b, _ := os.ReadFile(filepath.Join(dir, "shell", "pid"))
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				child = n
				cancel(enough)
			}
		}
	}()
	// The shell dies at once of SIGTERM and leaves its child.
	_, err := shell("sleep 600 & echo $! >pid.new; mv pid.new pid; wait").Start(ctx, engine.Addresses{}, dir)
	require.ErrorIs(t, err, enough)
	require.Eventually(t, func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		return err != nil && errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || strings.Contains(string(b), ") Z ")
	}, 10*time.Second, 10*time.Millisecond)
}

func TestDirect_goesToBothLegs(t *testing.T) {
	r, err := Direct().Start(t.Context(), engine.Addresses{Prefill: []string{"p:1"}, Decode: []string{"d:1"}}, t.TempDir())
	require.NoError(t, err)
	defer r.Stop()
	require.Equal(t, "p:1", r.Target.Prefill)
	require.Equal(t, "d:1", r.Target.Addr)
	_, some := r.Tree()
	require.False(t, some)
}

func TestPeers_sayHowToGetThem(t *testing.T) {
	_, err := VLLMRouter(t.TempDir())
	require.ErrorContains(t, err, "scripts/bench-router/install.sh")
	_, err = Sidecar("")
	require.ErrorContains(t, err, "-pd-sidecar FILE")
	_, err = Ours("x", "/bin/sh")
	require.Error(t, err)
}
