package driver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestStartTask_writesTheConnectorsFileBeforeTheEngineStarts(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve", func(c *driver.TaskConfig) {
		c.AllowKnownBad = []string{"lmcache-no-gpu"}
		c.KVTransfer = &driver.KVTransfer{Connector: "LMCacheConnectorV1", LMCache: &driver.LMCache{Version: "0.5.3", ChunkSize: 64}}
	})
	k.start(d)
	path := filepath.Join(k.TaskDir().SecretsDir, "lmcache.yaml")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "chunk_size: 64\n", string(b))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}
