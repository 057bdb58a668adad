package driver

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/stretchr/testify/require"
)

func TestConfig_everyFieldFromHCL(t *testing.T) {
	var got Config
	hclutils.NewConfigParser(configSpec()).ParseHCL(t, `config {
  command      = "/opt/vllm/bin/vllm"
  gpu_proc_dir = "/tmp/gpus"
  state_dir    = "/var/lib/vllm"
}`, &got)
	require.Equal(t, Config{Command: "/opt/vllm/bin/vllm", GPUProcDir: "/tmp/gpus", StateDir: "/var/lib/vllm"}, got)
	requireAllSet(t, reflect.ValueOf(got))
}

func TestConfig_defaults(t *testing.T) {
	var got Config
	hclutils.NewConfigParser(configSpec()).ParseHCL(t, `config { state_dir = "" }`, &got)
	require.Equal(t, defaultConfig(), got)
}

func TestTaskConfig_everyFieldFromHCL(t *testing.T) {
	var got TaskConfig
	hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, `config {
  model   = "meta-llama/Llama-3.1-8B-Instruct"
  role    = "prefill"
  port    = "api"
  command = "local/vllm"
  args    = ["--max-model-len=8192", "--enforce-eager"]
  tensor_parallel_size   = 2
  pipeline_parallel_size = 3
  data_parallel_size     = 4
  kv_transfer {
    connector              = "NixlConnector"
    kv_role                = "kv_both"
    engine_id              = "p-0"
    kv_buffer_device       = "cpu"
    kv_load_failure_policy = "recompute"
    side_channel_port      = "nixl"
    side_channel_host      = "10.0.0.7"
    lease                  = "60s"
    backends               = ["UCX", "LIBFABRIC"]
    extra {
      num_threads = 8
      note        = "free text"
    }
  }
}`, &got)
	require.Equal(t, TaskConfig{
		Model: "meta-llama/Llama-3.1-8B-Instruct", Role: "prefill", Port: "api", Command: "local/vllm",
		Args:               []string{"--max-model-len=8192", "--enforce-eager"},
		TensorParallelSize: 2, PipelineParallelSize: 3, DataParallelSize: 4,
		KVTransfer: &KVTransfer{
			Connector: "NixlConnector", KVRole: "kv_both", EngineID: "p-0", KVBufferDevice: "cpu",
			KVLoadFailurePolicy: "recompute", SideChannelPort: "nixl", SideChannelHost: "10.0.0.7",
			Lease: "60s", Backends: []string{"UCX", "LIBFABRIC"},
			Extra: map[string]string{"num_threads": "8", "note": "free text"},
		},
	}, got)
	requireAllSet(t, reflect.ValueOf(got))
}

func TestTaskConfig_defaults(t *testing.T) {
	var got TaskConfig
	hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, `config { model = "m" }`, &got)
	require.Equal(t, TaskConfig{Model: "m", Role: "both", Port: "http"}, got)
}

// requireAllSet keeps the tests above complete: a new field must be in them.
func requireAllSet(t *testing.T, v reflect.Value) {
	t.Helper()
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	for i := range v.NumField() {
		require.Falsef(t, v.Field(i).IsZero(), "%s is not in the test's HCL", v.Type().Field(i).Name)
		if f := v.Field(i); f.Kind() == reflect.Pointer {
			requireAllSet(t, f)
		}
	}
}

func TestSpecs_haveTheKeysOfTheirStructs(t *testing.T) {
	for name, c := range map[string]struct {
		spec *hclspec.Spec
		of   any
	}{
		"plugin":      {configSpec(), Config{}},
		"task":        {taskConfigSpec(), TaskConfig{}},
		"kv_transfer": {kvTransferSpec(), KVTransfer{}},
	} {
		var keys, tags []string
		for k := range c.spec.GetObject().GetAttributes() {
			keys = append(keys, k)
		}
		for i := range reflect.TypeOf(c.of).NumField() {
			tags = append(tags, reflect.TypeOf(c.of).Field(i).Tag.Get("codec"))
		}
		slices.Sort(keys)
		slices.Sort(tags)
		require.Equal(t, tags, keys, name)
	}
}

func TestSetConfig_takesWhatAnAgentSends(t *testing.T) {
	d := New(t.Context(), nullLog())
	require.NoError(t, d.SetConfig(&base.Config{}), "neither plugin nor agent config")
	require.NoError(t, d.SetConfig(&base.Config{AgentConfig: &base.AgentConfig{Driver: &base.ClientDriverConfig{}}}), "no topology")
	require.Equal(t, defaultConfig(), d.config())

	var data []byte
	require.NoError(t, base.MsgPackEncode(&data, &Config{Command: "", GPUProcDir: "gpus", StateDir: "state"}))
	err := d.SetConfig(&base.Config{PluginConfig: data})
	for _, want := range []string{`command = ""`, `gpu_proc_dir = "gpus": want an absolute path`, `state_dir = "state": want an absolute path`} {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, defaultConfig(), d.config(), "a bad config changes nothing")
}

func TestFingerprint_missingEngineIsUnhealthyWithTheReason(t *testing.T) {
	d := New(t.Context(), nullLog())
	d.cfg.Command = "no-such-engine"
	f := d.fingerprint()
	require.EqualValues(t, "unhealthy", f.Health)
	require.Contains(t, f.HealthDescription, `engine: command "no-such-engine": not found on PATH`)
	require.Contains(t, f.HealthDescription, `or set command in plugin "nomad-driver-vllm"`)
	d.cfg.Command = "sh"
	f = d.fingerprint()
	require.EqualValues(t, "healthy", f.Health)
	version, _ := f.Attributes["driver.vllm.version"].GetString()
	require.Equal(t, Version, version)
	path, _ := f.Attributes["driver.vllm.command"].GetString()
	require.True(t, strings.HasSuffix(path, "/sh"))
}

func TestFingerprint_comesAtOnceAndEndsWithItsContext(t *testing.T) {
	d := New(t.Context(), nullLog())
	ctx, cancel := contextWithCancel(t)
	ch, err := d.Fingerprint(ctx)
	require.NoError(t, err)
	require.NotNil(t, <-ch)
	cancel()
	_, ok := <-ch
	require.False(t, ok)
}
