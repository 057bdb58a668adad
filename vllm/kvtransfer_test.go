package vllm_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

func TestKVTransferConfig_leavesOutWhatIsNotSet(t *testing.T) {
	got, err := vllm.KVTransferConfig{Connector: vllm.NixlConnector, Role: vllm.KVProducer}.JSON()
	require.NoError(t, err)
	require.Equal(t, `{"kv_connector":"NixlConnector","kv_role":"kv_producer"}`, got)
}

func TestKVTransferConfig_sameSettingsGiveSameBytes(t *testing.T) {
	c := vllm.KVTransferConfig{
		Connector: vllm.NixlConnector, Role: vllm.KVConsumer, EngineID: "d-0", BufferDevice: "cuda", BufferSize: 1 << 30,
		LoadFailurePolicy: vllm.LoadFailureRecompute,
		Extra:             map[string]any{"num_threads": 4, "backends": []string{"UCX", "LIBFABRIC"}, "kv_lease_duration": 60},
	}
	want := `{"kv_connector":"NixlConnector","kv_role":"kv_consumer","engine_id":"d-0","kv_buffer_device":"cuda",` +
		`"kv_buffer_size":1073741824,"kv_load_failure_policy":"recompute",` +
		`"kv_connector_extra_config":{"backends":["UCX","LIBFABRIC"],"kv_lease_duration":60,"num_threads":4}}`
	for range 10 {
		got, err := c.JSON()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestKVTransferConfig_saysWhatCannotBeEncoded(t *testing.T) {
	_, err := vllm.KVTransferConfig{Connector: vllm.NixlConnector, Extra: map[string]any{"f": func() {}}}.JSON()
	require.ErrorContains(t, err, "--kv-transfer-config for NixlConnector")
	var unsupported *json.UnsupportedTypeError
	require.ErrorAs(t, err, &unsupported)
}

func TestParse_namesTheChoices(t *testing.T) {
	_, err := vllm.ParseKVRole("producer")
	require.EqualError(t, err, `kv_role "producer": want one of "kv_producer", "kv_consumer", "kv_both"`)
	_, err = vllm.ParseLoadFailurePolicy("retry")
	require.EqualError(t, err, `kv_load_failure_policy "retry": want "fail" or "recompute"`)
	role, err := vllm.ParseKVRole("kv_both")
	require.NoError(t, err)
	require.Equal(t, vllm.KVBoth, role)
	policy, err := vllm.ParseLoadFailurePolicy("recompute")
	require.NoError(t, err)
	require.Equal(t, vllm.LoadFailureRecompute, policy)
}

func TestConnectors_areKnownByExactName(t *testing.T) {
	require.True(t, vllm.KnownConnector("NixlConnector"))
	require.False(t, vllm.KnownConnector("nixlconnector"))
	require.False(t, vllm.KnownConnector("P2pNcclConnector"), "vLLM removed it in June 2026")
	require.IsIncreasing(t, vllm.Connectors())
}
