package vllm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

func TestLMCache_generationsIgnoreEachOthersKeys(t *testing.T) {
	for version, c := range map[string]struct{ read, ignored []string }{
		"0.3.1":     {[]string{"enable_nixl", "nixl_receiver_host"}, []string{"enable_pd", "enable_xpyd", "nixl_backends"}},
		"0.3.3":     {[]string{"enable_nixl", "enable_xpyd", "nixl_peer_init_port"}, []string{"enable_pd", "pd_role", "nixl_backends"}},
		"0.3.6":     {[]string{"enable_nixl", "nixl_enable_gc", "nixl_backends"}, []string{"enable_pd", "pd_buffer_size"}},
		"0.3.7":     {[]string{"enable_pd", "pd_role", "nixl_buffer_size"}, []string{"enable_nixl", "nixl_role", "nixl_enable_gc", "enable_xpyd"}},
		"0.3.10":    {[]string{"enable_pd", "weka_path"}, []string{"enable_nixl", "no_such_key"}},
		"0.4.7":     {[]string{"enable_pd", "pd_backend_mode"}, []string{"enable_nixl", "weka_path"}},
		"0.5.6":     {[]string{"enable_pd", "pd_backend_mode", "local_cpu"}, []string{"enable_nixl", "weka_path", "pipelined_backend"}},
		"0.6.0.dev": {[]string{"enable_pd"}, []string{"enable_nixl"}},
	} {
		v, err := vllm.ParseLMCacheVersion(version)
		require.NoError(t, err)
		for _, k := range c.read {
			require.True(t, v.Reads(k), "%s %s", version, k)
		}
		for _, k := range c.ignored {
			require.False(t, v.Reads(k), "%s %s", version, k)
		}
	}
}

func TestLMCache_namesIgnoredKeysAndWhatToWrite(t *testing.T) {
	v := vllm.NewestLMCache()
	err := v.CheckKeys([]string{"nixl_role", "enable_nixl", "nixl_enable_gc", "chunk_size"})
	require.EqualError(t, err, "LMCache 0.5.6 ignores the key enable_nixl; write enable_pd\n"+
		"LMCache 0.5.6 ignores the key nixl_enable_gc; remove it\nLMCache 0.5.6 ignores the key nixl_role; write pd_role")
	require.ErrorContains(t, vllm.LMCacheVersion{0, 3, 6}.CheckKeys([]string{"pd_role"}), "ignores the key pd_role; write nixl_role")
	_, err = vllm.ParseLMCacheVersion("new")
	require.EqualError(t, err, `"new": want a version such as "0.5.3"`)
}

func TestLMCacheSettings_checksAFileWithoutQuotingIt(t *testing.T) {
	got, err := vllm.LMCacheSettings([]byte("enable_pd: true\npd_buffer_size: 1\nextra_config: {a: 1}\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"enable_pd": true, "pd_buffer_size": 1, "extra_config": map[string]any{"a": 1}}, got)
	for _, on := range []string{"true", "True", `"true"`} {
		_, err = vllm.LMCacheSettings([]byte("enable_pd: " + on))
		require.ErrorContains(t, err, "enable_pd without pd_buffer_size")
	}
	for secret, want := range map[string]string{
		"root:$6$x:0:99999": "not a YAML file of key: value lines", "- secret": "not a YAML file of key: value lines", "{": "not a YAML file of key: value lines",
		"a secret b: 1": "has a key that is no name of a setting",
	} {
		_, err := vllm.LMCacheSettings([]byte(secret))
		require.EqualError(t, err, want)
	}
}
