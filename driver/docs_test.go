package driver

import (
	"os"
	"regexp"
	"testing"

	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/stretchr/testify/require"
)

// The documentation's blocks are what the driver takes.
func TestDocs_kvTransferBlocksWork(t *testing.T) {
	doc, err := os.ReadFile("../docs/driver.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile(`(?ms)^    kv_transfer \{$.*?^    \}$`).FindAllString(string(doc), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		var got TaskConfig
		hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, "config {\nmodel = \"m\"\nrole = \"decode\"\n"+block+"\n}", &got)
		s := cluster("decode", *got.KVTransfer)
		s.Ports = append(s.Ports, port{"lmcache_init", "10.0.0.7", 1}, port{"lmcache_alloc", "10.0.0.7", 2})
		_, err := newPlan(s)
		require.NoError(t, err, block)
	}
}
