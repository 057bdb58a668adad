//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
)

// TestDev runs what `make demo-check` runs, and Ctrl-C.
func TestDev_checkAnswersAndLeavesNothing(t *testing.T) {
	dir := stateDir(t)
	cmd := devCommand(t, "-check", "-state", dir, "-job", jobFile)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	for _, says := range []string{
		`prefill\[1\] +healthy`, `decode\[5\] +healthy`, `router\[0\] +healthy`,
		`path +disaggregated`, `prefill +prefill\[\d\] at http://127\.0\.0\.1:\d+, [\d.]+ ms`, `decode +decode\[\d\] at http`,
		`kv transfer +[\d.]+ \w?B in [\d.]+ ms`, `curl -X POST http://localhost:\d+/v1/chat/completions`, `no process left`,
	} {
		require.Regexp(t, regexp.MustCompile(says), string(out))
	}
	requireNothingLeft(t, dir)
}

func TestDev_interruptStopsEverything(t *testing.T) {
	dir := stateDir(t)
	var out bytes.Buffer
	log := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(log)
	require.NoError(t, err)
	defer f.Close()
	cmd := devCommand(t, "-state", dir)
	cmd.Stdout, cmd.Stderr = f, &out
	require.NoError(t, cmd.Start())
	eventually(t, 60*time.Second, "the cluster runs and stays", func() bool {
		b, err := os.ReadFile(log)
		require.NoError(t, err)
		return bytes.Contains(b, []byte("Ctrl-C stops it"))
	})
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), out.String())
	requireNothingLeft(t, dir)
}

func TestDev_aJobThatCannotRunFailsWithTheCause(t *testing.T) {
	job := filepath.Join(t.TempDir(), "bad.nomad.hcl")
	b, err := os.ReadFile(jobFile)
	require.NoError(t, err)
	b = bytes.Replace(b, []byte(`side_channel_port = "nixl"`), []byte(`side_channel_port = "nxil"`), 1)
	require.NoError(t, os.WriteFile(job, b, 0o644))
	dir := stateDir(t)
	out, err := devCommand(t, "-check", "-state", dir, "-job", job).CombinedOutput()
	t.Logf("%s", out)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), `kv_transfer.side_channel_port "nxil": no such port label`)
	requireNothingLeft(t, dir)
}

func devCommand(t *testing.T, args ...string) *exec.Cmd {
	tool := filepath.Join(os.Getenv("NOMAD_VLLM_BIN"), "nomad-vllm")
	return exec.CommandContext(t.Context(), tool, append([]string{"dev"}, args...)...)
}

func requireNothingLeft(t *testing.T, dir string) {
	left, err := cluster.Leftovers(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
