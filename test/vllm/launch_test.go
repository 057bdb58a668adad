//go:build vllm

package vllm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// launched is what launch.py would have started.
type launched struct {
	args, env []string
	stderr    string
}

// launch runs the installed command's launcher with a program in vLLM's place that prints what it got.
func launch(t *testing.T, env []string, args ...string) launched {
	t.Helper()
	dir := t.TempDir()
	script, err := os.ReadFile(filepath.Join("..", "..", "scripts", "vllm-cpu", "launch.py"))
	require.NoError(t, err)
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("bin/launch.py", string(script))
	write("venv/bin/vllm", "import os, sys\nprint('\\n'.join(sys.argv[1:]))\nprint('--')\nprint('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))\n")
	cmd := exec.Command("python3", append([]string{filepath.Join(dir, "bin/launch.py")}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "DIR=" + dir}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	before, after, found := strings.Cut(strings.ReplaceAll(out.String(), dir, "DIR"), "\n--\n")
	require.True(t, found, out.String())
	return launched{strings.Split(before, "\n"), strings.Split(after, "\n"), errs.String()}
}

// value is the one value of an argument; the test fails if it is there twice.
func (l launched) value(t *testing.T, name string) string {
	t.Helper()
	at := slices.Index(l.args, name)
	require.GreaterOrEqual(t, at, 0, "%s in %v", name, l.args)
	require.NotContains(t, l.args[at+1:], name)
	return l.args[at+1]
}

func TestLaunch_makesAGPUJobFitForCPU(t *testing.T) {
	l := launch(t, nil, "serve", model, "--host", "127.0.0.1", "--port", "8000",
		"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_buffer_device":"cuda"}`,
		"--max-model-len=8192", "--gpu-memory-utilization=0.90", "--max_num_seqs", "256", "--max-num-batched-tokens=8192",
		"-tp", "2", "--dtype=bfloat16", "--quantization", "fp8", "--async-scheduling", "--enable-prompt-tokens-details")
	require.Equal(t, []string{"serve", "DIR/model", "--served-model-name", model, "--host", "127.0.0.1", "--port", "8000",
		"--enable-prompt-tokens-details"}, l.args[:9])
	require.Equal(t, "2048", l.value(t, "--max-model-len"))
	require.Equal(t, "8", l.value(t, "--max-num-seqs"))
	require.Equal(t, "2048", l.value(t, "--max-num-batched-tokens"))
	require.Equal(t, "float32", l.value(t, "--dtype"))
	require.JSONEq(t, `{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_buffer_device":"cpu"}`, l.value(t, "--kv-transfer-config"))
	for _, gone := range []string{"-tp", "2", "fp8", "--quantization", "--async-scheduling", "--gpu-memory-utilization=0.90"} {
		require.NotContains(t, l.args, gone)
	}
	for _, told := range []string{"without -tp 2", "without --quantization fp8", "--dtype float32 instead of bfloat16", "--max-model-len 2048 instead of 8192"} {
		require.Contains(t, l.stderr, told)
	}
}

func TestLaunch_keepsWhatFits(t *testing.T) {
	l := launch(t, nil, "serve", model, "--served-model-name", "short", "--max-model-len", "1024", "--kv-transfer-config", "{not json")
	require.Equal(t, "short", l.value(t, "--served-model-name"))
	require.Equal(t, "1024", l.value(t, "--max-model-len"))
	require.Equal(t, "{not json", l.value(t, "--kv-transfer-config"), "vLLM says what is wrong with it")
}

func TestLaunch_setsTheEnvironmentWhereUnset(t *testing.T) {
	task := t.TempDir()
	l := launch(t, []string{"NOMAD_TASK_DIR=" + task, "CUDA_VISIBLE_DEVICES=0", "OMP_NUM_THREADS=3", "VLLM_NIXL_SIDE_CHANNEL_HOST=10.0.0.7"}, "serve", model)
	require.Contains(t, l.env, "HOME="+task+"/home")
	require.Contains(t, l.env, "TMPDIR="+task+"/tmp")
	require.Contains(t, l.env, "OMP_NUM_THREADS=3")
	require.Contains(t, l.env, "HF_HUB_OFFLINE=1")
	for _, e := range l.env {
		require.NotRegexp(t, "^(CUDA_VISIBLE_DEVICES|UCX_NET_DEVICES)=", e, "no GPU, and not only the loopback where the peer is elsewhere")
	}
	require.Contains(t, launch(t, nil, "serve", model).env, "UCX_NET_DEVICES=lo")
}
