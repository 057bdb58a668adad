package sim_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func run(env map[string]string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = sim.Main(args, environment(env), &out, &errs)
	return code, out.String(), errs.String()
}

func TestMain_usage(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	taken := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	nixl := `{"kv_connector":"NixlConnector","kv_role":"kv_both"}`
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"version":           {nil, []string{"--version"}, 0, "0.32.0\n"},
		"other version":     {map[string]string{"VLLM_SIM_VERSION": "0.26.0"}, []string{"--version"}, 0, "0.26.0\n"},
		"help":              {nil, []string{"serve", "--help"}, 0, "usage: vllm-sim serve MODEL"},
		"nothing":           {nil, nil, 2, "usage: vllm-sim serve MODEL"},
		"subcommand":        {nil, []string{"bench"}, 2, "invalid choice: 'bench'"},
		"no model":          {nil, []string{"serve", "--port", "0"}, 2, "required: model_tag"},
		"bad number":        {nil, []string{"serve", "m", "--port", "many"}, 2, "argument --port: invalid int value: 'many'"},
		"missing value":     {nil, []string{"serve", "m", "--port"}, 2, "argument --port: expected one argument"},
		"bad JSON":          {nil, []string{"serve", "m", "--kv-transfer-config", "{x"}, 2, "--kv-transfer-config"},
		"no role":           {nil, []string{"serve", "m", "--kv-transfer-config.kv_connector", "NixlConnector"}, 1, "kv_role"},
		"unknown connector": {nil, []string{"serve", "m", "--kv-transfer-config", `{"kv_connector":"NoConnector","kv_role":"kv_both"}`}, 1, "Unsupported connector type: NoConnector"},
		"cache too small":   {nil, []string{"serve", "m", "--max-model-len=8192", "--kv-cache-memory-bytes=1M"}, 1, "larger than the maximum number of tokens"},
		"profile":           {map[string]string{"VLLM_SIM_PROFILE": "slow"}, []string{"serve", "m"}, 1, "want one of fast, h200-llama-8b"},
		"scale":             {map[string]string{"VLLM_SIM_SCALE": "-1"}, []string{"serve", "m"}, 1, "want a number above 0"},
		"faults":            {map[string]string{"VLLM_SIM_FAULTS": "explode@1"}, []string{"serve", "m"}, 1, `kind "explode"`},
		"port taken":        {nil, []string{"serve", "m", "--host", "127.0.0.1", "--port", taken}, 1, "address already in use"},
		"side channel taken": {map[string]string{"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": taken},
			[]string{"serve", "m", "--host", "127.0.0.1", "--port", "0", "--kv-transfer-config", nixl}, 1, "NIXL side channel"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(c.env, c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Contains(t, stdout+stderr, c.says)
		})
	}
}

func TestMain_unknownFlagIsAWarning(t *testing.T) {
	_, _, stderr := run(nil, "serve", "m", "--no-such-flag", "7", "--port", "many")
	require.Contains(t, stderr, "argument --port")
	_, _, stderr = run(map[string]string{"VLLM_SIM_LOAD": "x"}, "serve", "m", "--no-such-flag", "7")
	require.Contains(t, stderr, "VLLM_SIM_LOAD")
}

// serving runs the command until it answers and returns its URL and its exit code's channel.
func serving(t *testing.T, args ...string) (url string, code <-chan int) {
	t.Helper()
	var log logBuffer
	exit := make(chan int, 1)
	env := environment(map[string]string{"VLLM_SIM_LOAD": "0s", "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": "0"})
	go func() {
		exit <- sim.Main(append([]string{"serve", "m", "--host", "127.0.0.1", "--port", "0"}, args...), env, &log, io.Discard)
	}()
	eventually(t, func() bool { return strings.Contains(log.String(), "Application startup complete.") }, "it starts")
	return regexp.MustCompile(`http://[0-9.:]+`).FindString(log.String()), exit
}

func TestMain_endsWithCode0OnSIGTERM(t *testing.T) {
	url, code := serving(t)
	resp, err := http.Get(url + "/health")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	require.Zero(t, <-code)
}

func TestMain_endsWithCode0AfterALethalRequest(t *testing.T) {
	url, code := serving(t, "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_both"}`)
	resp, err := http.Post(url+completionPath, "application/json", strings.NewReader(`{"prompt":"x","kv_transfer_params":{"do_remote_prefill":true}}`))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	require.Zero(t, <-code)
}
