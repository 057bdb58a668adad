package driver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// good is a situation in which nothing is wrong.
func good(change ...func(*situation)) situation {
	s := situation{
		Command: "vllm",
		Task: TaskConfig{
			Model: "meta-llama/Llama-3.1-8B-Instruct", Role: "prefill", Port: "http",
			KVTransfer: &KVTransfer{Connector: "NixlConnector", SideChannelPort: "nixl"},
		},
		Ports: []port{{"http", "10.0.0.7", 23145}, {"nixl", "10.0.0.7", 29000}},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// reserveRanks reserves a side channel for each of eight data-parallel ranks.
func reserveRanks(s *situation) {
	for i := 1; i < 8; i++ {
		s.Ports = append(s.Ports, port{fmt.Sprintf("nixl_%d", i), "10.0.0.7", 29000 + i})
	}
}

func TestPlan_isWhatVLLMTakes(t *testing.T) {
	p, err := newPlan(good(func(s *situation) { s.Task.Args = []string{"--max-model-len=8192"} }))
	require.NoError(t, err)
	require.Equal(t, []string{
		"vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct",
		"--host", "10.0.0.7", "--port", "23145",
		"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer"}`,
		"--max-model-len=8192",
	}, p.Argv)
	require.Equal(t, map[string]string{
		"VLLM_NIXL_SIDE_CHANNEL_HOST": "10.0.0.7", "VLLM_NIXL_SIDE_CHANNEL_PORT": "29000",
		"PYTHONHASHSEED": "0", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
	}, p.Env)
	require.Empty(t, p.Notes)
}

func TestPlan_everyKVSettingReachesTheEngine(t *testing.T) {
	p, err := newPlan(good(func(s *situation) {
		s.Task.Role = "decode"
		s.Task.KVTransfer = &KVTransfer{
			Connector: "NixlConnector", SideChannelPort: "nixl", SideChannelHost: "192.168.7.7",
			EngineID: "d-0", KVBufferDevice: "cpu", KVLoadFailurePolicy: "recompute", Lease: "90s",
			Backends: []string{"UCX", "LIBFABRIC"},
			Extra:    map[string]string{"num_threads": "8", "enforce_handshake_compat": "false", "note": "text"},
		}
	}))
	require.NoError(t, err)
	require.Contains(t, p.Argv, `{"kv_connector":"NixlConnector","kv_role":"kv_consumer","engine_id":"d-0","kv_buffer_device":"cpu","kv_load_failure_policy":"recompute",`+
		`"kv_connector_extra_config":{"backends":["UCX","LIBFABRIC"],"enforce_handshake_compat":false,"kv_lease_duration":90,"note":"text","num_threads":8}}`)
	require.Equal(t, "192.168.7.7", p.Env["VLLM_NIXL_SIDE_CHANNEL_HOST"])
}

func TestPlan_roleBothIsDeprecatedForNIXL(t *testing.T) {
	p, err := newPlan(good(func(s *situation) { s.Task.Role = "both" }))
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Argv, " "), `"kv_role":"kv_both"`)
	require.Len(t, p.Notes, 1)
	require.Contains(t, p.Notes[0], "deprecated")
}

func TestPlan_aggregatedServerNeedsNoKVTransfer(t *testing.T) {
	p, err := newPlan(good(func(s *situation) { s.Task.Role, s.Task.KVTransfer = "both", nil }))
	require.NoError(t, err)
	require.NotContains(t, p.Argv, "--kv-transfer-config")
}

func TestPlan_jobsOwnEnvironmentWins(t *testing.T) {
	p, err := newPlan(good(func(s *situation) {
		s.Env = map[string]string{"PYTHONHASHSEED": "42", "VLLM_NIXL_SIDE_CHANNEL_HOST": "localhost", "X": "y"}
	}))
	require.NoError(t, err)
	require.Equal(t, "42", p.Env["PYTHONHASHSEED"])
	require.Equal(t, "y", p.Env["X"])
	require.Equal(t, "10.0.0.7", p.Env["VLLM_NIXL_SIDE_CHANNEL_HOST"], "but only the driver knows this one")
}

func TestPlan_parallelSizes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*situation)
		want   string // in the command line
		err    string
		again  bool
	}{
		"typed": {func(s *situation) { s.Task.TensorParallelSize = 2; s.GPUs = gpus{2, "0,1"} }, "--tensor-parallel-size 2", "", false},
		"product": {func(s *situation) {
			s.Task.TensorParallelSize, s.Task.DataParallelSize = 2, 2
			s.GPUs = gpus{4, "0,1,2,3"}
		}, "--data-parallel-size 2", "", false},
		"in args": {func(s *situation) { s.Task.Args = []string{"-tp", "2"}; s.GPUs = gpus{2, "0,1"} }, "-tp 2", "", false},
		"with _":  {func(s *situation) { s.Task.Args = []string{"--tensor_parallel_size=2"}; s.GPUs = gpus{2, "0,1"} }, "=2", "", false},
		"cpu":     {func(*situation) {}, "", "", false},
		"one":     {func(s *situation) { s.GPUs = gpus{1, "5"} }, "", "", false},
		"ray": {func(s *situation) {
			s.Task.Args = []string{"-tp=16", "--distributed-executor-backend=ray"}
			s.GPUs = gpus{8, "0"}
		}, "", "", false},
		"dp local": {func(s *situation) { s.Task.Args = []string{"-dp=16", "-dpl=8"}; s.GPUs = gpus{8, "0"} }, "", "", false},
		"too few": {func(s *situation) { s.Task.TensorParallelSize = 4; s.GPUs = gpus{1, "0"} }, "",
			`tensor_parallel_size 4 needs 4 GPUs but Nomad reserved 1: set device "nvidia/gpu" { count = 4 } or tensor_parallel_size = 1`, true},
		"too few of a product": {func(s *situation) {
			s.Task.TensorParallelSize = 4
			s.Task.Args = []string{"-pp=2"}
			s.Task.Role, s.Task.KVTransfer = "both", nil
			s.GPUs = gpus{4, "0,1,2,3"}
		}, "",
			`tensor_parallel_size 4 x pipeline_parallel_size 2 needs 8 GPUs but Nomad reserved 4: set device "nvidia/gpu" { count = 8 }`, true},
		"too many": {func(s *situation) { s.GPUs = gpus{8, "0,1,2,3,4,5,6,7"} }, "",
			`tensor_parallel_size 1 needs 1 GPU but Nomad reserved 8: set device "nvidia/gpu" { count = 1 } or tensor_parallel_size = 8`, false},
		"none yet": {func(s *situation) { s.Task.TensorParallelSize = 4 }, "",
			`needs 4 GPUs but Nomad reserved none`, true},
		"unreserved": {func(s *situation) { s.NodeGPUs = 8 }, "",
			`Nomad reserved no GPU, but this node has 8 GPUs: add device "nvidia/gpu" {}`, true},
		"unreserved on purpose": {func(s *situation) {
			s.NodeGPUs = 8
			s.Env = map[string]string{"CUDA_VISIBLE_DEVICES": ""}
		}, "", "", false},
		"negative":    {func(s *situation) { s.Task.TensorParallelSize = -1 }, "", "tensor_parallel_size = -1: want at least 1", false},
		"not numbers": {func(s *situation) { s.Task.Args = []string{"-tp=two"} }, "", `args: --tensor-parallel-size "two": want a whole number`, false},
		"twice": {func(s *situation) {
			s.Task.TensorParallelSize = 2
			s.Task.Args = []string{"--tensor-parallel-size=4"}
			s.GPUs = gpus{2, "0,1"}
		}, "", `args has "--tensor-parallel-size=4", but the driver sets --tensor-parallel-size from tensor_parallel_size = 2; remove it from args`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newPlan(good(reserveRanks, c.change))
			if c.err == "" {
				require.NoError(t, err)
				require.Contains(t, strings.Join(p.Argv, " "), c.want)
				return
			}
			require.ErrorContains(t, err, c.err)
			var e *startError
			require.ErrorAs(t, configError(err), &e)
			require.Equal(t, c.again, e.IsRecoverable())
		})
	}
}

type mistake struct {
	change func(*situation)
	want   string
}

// planMistakes are mistakes outside of a kv_transfer block's own settings.
func planMistakes() map[string]mistake {
	return map[string]mistake{
		"no model":        {func(s *situation) { s.Task.Model = "" }, `model: not set; add model =`},
		"a flag as model": {func(s *situation) { s.Task.Model = "--seed" }, `model "--seed": the engine would take it for a flag; name a model, and write flags in args`},
		"role":            {func(s *situation) { s.Task.Role = "prefil" }, `role "prefil": want one of "prefill", "decode", "both"`},
		"port label": {func(s *situation) { s.Task.Port = "web" },
			`port "web": no such port label in the group's network (have "http", "nixl"); add port "web" {}`},
		"no ports": {func(s *situation) { s.Ports = nil }, `port "http": no such port label in the group's network (have none); add port "http" {}`},
		"side channel label": {func(s *situation) { s.Ports = s.Ports[:1] },
			`kv_transfer.side_channel_port "nixl": no such port label in the group's network (have "http"); add port "nixl" {}`},
		"side channel not set": {func(s *situation) { s.Task.KVTransfer.SideChannelPort = "" }, `kv_transfer.side_channel_port: not set`},
		"one port for both":    {func(s *situation) { s.Task.KVTransfer.SideChannelPort = "http" }, `"http" is the HTTP port as well`},
		"unknown connector": {func(s *situation) { s.Task.KVTransfer.Connector = "NixlConector" },
			`kv_transfer.connector "NixlConector": no such connector; want one of "LMCacheConnectorV1", `},
		"no connector":   {func(s *situation) { s.Task.KVTransfer.Connector = "" }, `kv_transfer.connector "": not set; want one of`},
		"kv_role":        {func(s *situation) { s.Task.KVTransfer.KVRole = "producer" }, `kv_transfer.kv_role "producer": want one of`},
		"other kv_role":  {func(s *situation) { s.Task.KVTransfer.KVRole = "kv_consumer" }, `kv_role "kv_consumer" contradicts role "prefill", which is "kv_producer"`},
		"failure policy": {func(s *situation) { s.Task.KVTransfer.KVLoadFailurePolicy = "retry" }, `kv_transfer.kv_load_failure_policy "retry": want "fail" or "recompute"`},
		"lease":          {func(s *situation) { s.Task.KVTransfer.Lease = "30" }, `kv_transfer.lease "30": want a duration of at least 1s`},
		"host 0.0.0.0":   {func(s *situation) { s.Task.KVTransfer.SideChannelHost = "0.0.0.0" }, `side_channel_host "0.0.0.0": peers are told this address`},
		"host localhost": {func(s *situation) { s.Task.KVTransfer.SideChannelHost = "localhost" }, `side_channel_host "localhost": peers on other nodes would connect to themselves; leave it out for the port's own, 10.0.0.7`},
		"owned arg": {func(s *situation) { s.Task.Args = []string{"--port=1"} },
			`args has "--port=1", but the driver sets --port from port = "http"; remove it from args`},
		"owned arg in pieces": {func(s *situation) { s.Task.Args = []string{"--kv_transfer_config.kv_role", "kv_both"} },
			`args has "--kv_transfer_config.kv_role", but the driver sets --kv-transfer-config from the kv_transfer block`},
		"owned host":   {func(s *situation) { s.Task.Args = []string{"--host", "0.0.0.0"} }, `args has "--host", but the driver sets --host from the address of port label "http"`},
		"second model": {func(s *situation) { s.Task.Args = []string{"--model", "x"} }, `args has "--model"`},
		"role alone": {func(s *situation) { s.Task.KVTransfer = nil },
			`role "prefill" without a kv_transfer block: the server could not hand KV over; add kv_transfer { connector = "NixlConnector" ... } or set role = "both"`},
	}
}

func TestPlan_mistakesAreNamedWithTheWayOut(t *testing.T) {
	for name, c := range planMistakes() {
		t.Run(name, func(t *testing.T) {
			_, err := newPlan(good(c.change))
			require.ErrorContains(t, err, c.want)
			var e *startError
			require.ErrorAs(t, configError(err), &e)
			require.False(t, e.IsRecoverable(), "a mistake in the job does not mend itself")
		})
	}
}

func TestPlan_allMistakesAtOnce(t *testing.T) {
	_, err := newPlan(good(func(s *situation) {
		s.Task.Model, s.Task.Role = "", "x"
		s.Task.KVTransfer.Connector = "y"
		s.Task.KVTransfer.SideChannelPort = "z"
		s.Task.Args = []string{"--host", "h", "--port", "1"}
		s.Task.TensorParallelSize = 4
	}))
	text := configError(err).Error()
	for _, want := range []string{"model: not set", `role "x"`, `connector "y"`, `side_channel_port "z"`, `"--host"`, `"--port"`, "needs 4 GPUs"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "\n", "a task event is one line")
}

func TestPlan_rawKVTransferConfigIsTheWayOutOfTheBlock(t *testing.T) {
	p, err := newPlan(good(func(s *situation) {
		s.Task.KVTransfer = nil
		s.Task.Args = []string{"--kv-transfer-config", `{"kv_connector":"MooncakeConnector","kv_role":"kv_producer"}`}
	}))
	require.NoError(t, err)
	require.Contains(t, p.Argv, "--kv-transfer-config")
}

func TestPlan_loopbackNodeMayTellItsLoopbackAddress(t *testing.T) {
	_, err := newPlan(good(func(s *situation) {
		s.Ports = []port{{"http", "127.0.0.1", 1}, {"nixl", "127.0.0.1", 2}}
		s.Task.KVTransfer.SideChannelHost = "localhost"
	}))
	require.NoError(t, err)
}

func TestConfigError_mixedMistakesAreFinal(t *testing.T) {
	race := &recoverable{errors.New("no devices yet")}
	require.NoError(t, configError(nil))
	require.True(t, configError(errors.Join(race)).(*startError).IsRecoverable())
	require.False(t, configError(errors.Join(race, errors.New("no model"))).(*startError).IsRecoverable())
}
