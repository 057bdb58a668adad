package serve_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/serve"
)

func noEnv(string) string { return "" }

func parse(t *testing.T, args ...string) (*serve.Config, []string) {
	t.Helper()
	c, warnings, err := serve.Parse(args, noEnv)
	require.NoError(t, err)
	return c, warnings
}

func TestParse_allSpellings(t *testing.T) {
	c, warnings := parse(t, "meta-llama/Llama", "--host=10.0.0.1", "--port", "8100", "--max_model_len=8k", "-tp", "2", "-O3",
		"--served-model-name", "a", "b", "--api-key", "x", "--api-key=y", "--no-enable-prefix-caching", "--enable-request-id-headers",
		"--kv-cache-memory-bytes", "2G", "--shutdown-timeout", "2.5", "--gpu-memory-utilization=0.5", "--trust-remote-code", "--enforce-eager",
		"--dtype", "bfloat16", "--uvicorn-log-level=warning", "--seed", "-1")
	require.Empty(t, warnings)
	require.Equal(t, "meta-llama/Llama", c.Model)
	require.Equal(t, "10.0.0.1", c.Host)
	require.Equal(t, 8100, c.Port)
	require.Equal(t, 8000, c.MaxModelLen)
	require.Equal(t, 2, c.TPSize)
	require.Equal(t, []string{"a", "b"}, c.ServedNames)
	require.Equal(t, []string{"x", "y"}, c.APIKeys)
	require.False(t, c.PrefixCaching)
	require.True(t, c.RequestIDHeaders)
	require.Equal(t, int64(2<<30), c.KVCacheBytes)
	require.Equal(t, 2500*time.Millisecond, c.ShutdownTimeout)
	require.Equal(t, int64(-1), c.Seed)
}

func TestParse_defaults(t *testing.T) {
	c, _ := parse(t, "m")
	require.Equal(t, []string{"m"}, c.ServedNames)
	require.Equal(t, 8000, c.Port)
	require.True(t, c.PrefixCaching)
	require.Nil(t, c.KV)
	require.Zero(t, c.ShutdownTimeout)
}

func TestParse_transferConfig(t *testing.T) {
	whole, _ := parse(t, "m", "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_connector_extra_config":{"kv_lease_duration":5}}`)
	dotted, _ := parse(t, "m", "--kv-transfer-config.kv_connector", "NixlConnector", "--kv_transfer_config.kv_role=kv_producer",
		"--kv-transfer-config.kv_connector_extra_config.kv_lease_duration", "5", "--kv-transfer-config.kv_connector_extra_config.backends+", "UCX")
	for _, c := range []*serve.Config{whole, dotted} {
		require.Equal(t, "NixlConnector", c.KV.Nixl().Connector)
		require.Equal(t, 5*time.Second, c.KV.Lease())
		require.False(t, c.KV.Fetches())
	}
	multi, _ := parse(t, "m", "--kv-transfer-config", `{"kv_connector":"MultiConnector","kv_role":"kv_both","kv_connector_extra_config":
		{"connectors":[{"kv_connector":"LMCacheMPConnector","kv_role":"kv_both"},{"kv_connector":"NixlConnector","kv_role":"kv_both"}]}}`)
	require.Equal(t, "NixlConnector", multi.KV.Nixl().Connector)
	require.Equal(t, 30*time.Second, multi.KV.Nixl().Lease())
	lmcache, _ := parse(t, "m", "--kv-transfer-config", `{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}`)
	require.Nil(t, lmcache.KV.Nixl())
}

func TestParse_unknownFlagsAreSkippedWithTheirValues(t *testing.T) {
	for name, args := range map[string][]string{
		"value after the model": {"m", "--new-flag", "7", "--port", "1"},
		"with an equals sign":   {"--new-flag=7", "m", "--port", "1"},
		"without a value":       {"m", "--new-flag", "--port", "1"},
		"before the model":      {"--new-flag", "m", "--port", "1"},
		"value before":          {"--new-flag", "7", "m", "--port", "1"},
		"short":                 {"m", "-zz", "7", "--port", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, warnings := parse(t, args...)
			require.Equal(t, "m", c.Model)
			require.Equal(t, 1, c.Port)
			require.Len(t, warnings, 1)
		})
	}
}

func TestParse_apiKeyFromTheEnvironment(t *testing.T) {
	c, _, err := serve.Parse([]string{"m"}, func(name string) string { return map[string]string{"VLLM_API_KEY": "k"}[name] })
	require.NoError(t, err)
	require.Equal(t, []string{"k"}, c.APIKeys)
}

func TestParse_refuses(t *testing.T) {
	for says, args := range map[string][]string{
		"unrecognized arguments: b":           {"a", "b"},
		"--gpu-memory-utilization 2":          {"m", "--gpu-memory-utilization=2"},
		"--tensor-parallel-size 0":            {"m", "-tp", "0"},
		"invalid float value: 'x'":            {"m", "--shutdown-timeout", "x"},
		"Unsupported kv_role: both":           {"m", "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"both"}`},
		`kv_load_failure_policy "retry"`:      {"m", "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_load_failure_policy":"retry"}`},
		"Invalid JSON format for --lora-mod":  {"m", "--enable-lora", "--lora-modules", `sql`},
		"Invalid fields for --lora-modules":   {"m", "--enable-lora", "--lora-modules", `{"name":"sql"}`},
		"LoRA is not enabled":                 {"m", "--lora-modules", "sql=/a"},
		"'sql' has already been loaded":       {"m", "--enable-lora", "--lora-modules", "sql=/a", "sql=/b"},
		"--kv-transfer-config: cannot unmars": {"m", "--kv-transfer-config.kv_role", "7"},
	} {
		_, _, err := serve.Parse(args, noEnv)
		require.ErrorContains(t, err, says)
	}
}

func TestParse_warnsOfWhatAClientWouldMiss(t *testing.T) {
	_, warnings := parse(t, "m", "--root-path", "/x", "--dtype", "auto")
	require.Equal(t, []string{"flag --root-path is known and not simulated: ignored"}, warnings)
}
