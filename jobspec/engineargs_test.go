package jobspec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

func TestFlagName_readsEverySpellingThatVLLMTakes(t *testing.T) {
	for arg, want := range map[string]string{
		"--port":                               "--port",
		"--port=8000":                          "--port",
		"--kv_transfer_config":                 "--kv-transfer-config",
		"--kv-transfer-config.kv_role=kv_both": "--kv-transfer-config",
		"-tp=2":                                "--tensor-parallel-size",
		"8000":                                 "",
		"a.b=--port":                           "",
	} {
		require.Equal(t, want, jobspec.FlagName(arg), arg)
	}
}

func TestGPUs_isTheProductOfTheParallelSizes(t *testing.T) {
	for _, c := range []struct {
		typed   map[string]int
		args    []string
		n       int
		written bool
		ok      bool
	}{
		{nil, nil, 1, false, true},
		{nil, []string{"--tensor-parallel-size=4"}, 4, true, true},
		{nil, []string{"-tp", "2", "--pipeline_parallel_size", "3", "-dp=2"}, 12, true, true},
		{map[string]int{"tensor_parallel_size": 2}, []string{"-pp", "2"}, 4, true, true},
		{nil, []string{"-tp", "2", "-tp", "8"}, 8, true, true},
		{nil, []string{"-tp", "many"}, 0, true, false},
		{nil, []string{"-tp"}, 0, true, false},
		{nil, []string{"-tp=2", "--nnodes=2"}, 2, true, false},
		{nil, []string{"--distributed-executor-backend", "ray"}, 1, false, false},
		{nil, []string{"--distributed-executor-backend", "mp"}, 1, false, true},
	} {
		n, written, ok := jobspec.GPUs(c.typed, c.args)
		require.Equal(t, c.n, n, c.args)
		require.Equal(t, c.written, written, c.args)
		require.Equal(t, c.ok, ok, c.args)
	}
}

func TestOwnedFlag_isWhatTheDriverPasses(t *testing.T) {
	none := func(string) bool { return false }
	all := func(string) bool { return true }
	for arg, owned := range map[string][2]bool{ // without and with the keys set
		"--port=1":                  {true, true},
		"--host":                    {true, true},
		"--kv-transfer-config={}":   {false, true},
		"--tensor-parallel-size=2":  {false, true},
		"--served-model-name=x":     {false, false},
		"--max-model-len":           {false, false},
		"meta-llama/Llama-3.1-8B":   {false, false},
		"--portable=not-that-one":   {false, false},
		"--uds=/tmp/vllm.sock":      {true, true},
		"--pipeline_parallel_size=": {false, true},
	} {
		_, _, got := jobspec.OwnedFlag(arg, none)
		require.Equal(t, owned[0], got, arg)
		_, _, got = jobspec.OwnedFlag(arg, all)
		require.Equal(t, owned[1], got, arg)
	}
}

func TestNearest_offersOnlyWhatMayBeASlip(t *testing.T) {
	names := []string{"NixlConnector", "NixlPullConnector", "MooncakeConnector"}
	require.Equal(t, "NixlConnector", jobspec.Nearest("nixlconector", names))
	require.Equal(t, "NixlConnector", jobspec.Nearest("NixlConnecter", names))
	require.Empty(t, jobspec.Nearest("P2P", names))
	require.Empty(t, jobspec.Nearest("", names))
}
