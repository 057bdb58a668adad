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

func TestDocs_runtimesAndAllowedRowsWork(t *testing.T) {
	block := func(file, indent string) string {
		doc, err := os.ReadFile(file)
		require.NoError(t, err)
		found := regexp.MustCompile(`(?ms)^`+indent+`config \{$.*?^`+indent+`\}$`).FindAllString(string(doc), -1)
		for _, b := range found {
			if regexp.MustCompile(`runtime `).MatchString(b) {
				return b
			}
		}
		require.Fail(t, "no such block", "in %s", file)
		return ""
	}
	var node Config
	hclutils.NewConfigParser(configSpec()).ParseHCL(t, block("../docs/driver.md", "      "), &node)
	node.complete()
	require.NoError(t, node.validate())
	require.Equal(t, "/opt/vllm-0.26/bin/vllm", node.Runtimes["v0.26"].Command)
	require.Equal(t, "/models", node.Runtimes["v0.33"].Env["HF_HOME"])

	var task TaskConfig
	hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, block("../docs/known-bad.md", "    "), &task)
	engine, err := node.engineOf(task)
	require.NoError(t, err, "the page's task runs on the page's node")
	require.Equal(t, node.Runtimes["v0.33"], engine)
	s := cluster("both", KVTransfer{Connector: "LMCacheConnectorV1"})
	s.Versions = versions("vllm", "0.33.1")
	s.Task.AllowKnownBad = task.AllowKnownBad
	_, err = newPlan(s)
	require.NoError(t, err)
}
