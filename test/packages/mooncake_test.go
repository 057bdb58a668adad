//go:build packages

package packages

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// LMCache hands Mooncake a dictionary, and Mooncake ignores what it does not
// know. So each setting must be there under Mooncake's name, whatever LMCache
// calls it.
func (r reading) mooncake(t *testing.T) {
	var mooncake struct {
		Version string   `json:"version"`
		Keys    []string `json:"keys"`
	}
	run(t, "read_mooncake.py", []string{"mooncake-0.3.13.post1", "deps"}, &mooncake)
	t.Logf("Mooncake %s takes %v", mooncake.Version, mooncake.Keys)
	require.Contains(t, mooncake.Keys, "local_hostname")

	own := map[string]string{"device_name": "rdma_devices", "master_server_address": "master_server_addr"}
	path := r.all["lmcache-store"].lmcache
	for _, version := range []string{"0.4.7", "0.5.3", "0.5.6"} {
		store := r.reports[version].Files[path].Used["store"]
		require.EqualValues(t, 2, store["transfer_timeout"])
		setup, ok := store["setup_config"].(map[string]any)
		require.True(t, ok, store)
		for key, value := range setup {
			if name, renamed := own[key]; renamed {
				require.NotContains(t, mooncake.Keys, key, "Mooncake reads this name again; the other may go")
				require.Equal(t, value, setup[name], "LMCache %s: Mooncake ignores %s and reads %s", version, key, name)
				continue
			}
			require.Contains(t, mooncake.Keys, key, "LMCache %s", version)
		}
	}
}
