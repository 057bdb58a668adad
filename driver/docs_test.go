package driver

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
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

// Each setting that HCL takes is in the reference, in the table of its own
// block, and nothing else is.
func TestDocs_everySettingIsInItsTable(t *testing.T) {
	documented := settingsTables(t)
	var check func(block string, spec *hclspec.Spec)
	check = func(block string, spec *hclspec.Spec) {
		var want []string
		for name, attr := range spec.GetObject().GetAttributes() {
			inner, kind := shape(attr)
			path := strings.TrimPrefix(block+"."+name, ".")
			if block != "task.kv_transfer" || inner == nil { // a block in it has a table of its own instead of a row
				want = append(want, name)
			}
			switch {
			case inner == nil || kind == "list of blocks": // parts have the same settings
			case strings.Contains(path, "kv_transfer."):
				check(strings.TrimPrefix(path, "task.kv_transfer."), inner)
			default:
				check(path, inner)
			}
		}
		slices.Sort(want)
		got := documented[block]
		slices.Sort(got)
		require.Equal(t, want, got, "settings of %s in docs/driver.md", block)
	}
	check("plugin", configSpec())
	check("task", taskConfigSpec())
}

// settingsTables are the settings of each block as docs/driver.md has them: the
// first cells of the tables that begin with "setting" or with a block's name.
func settingsTables(t *testing.T) map[string][]string {
	doc, err := os.ReadFile("../docs/driver.md")
	require.NoError(t, err)
	sections := map[string]string{
		"Plugin settings": "plugin", "Runtimes": "plugin.runtime", "Telemetry": "plugin.telemetry", "Task settings": "task",
		"Every connector": "task.kv_transfer", "NixlConnector, NixlPullConnector, NixlPushConnector": "task.kv_transfer",
	}
	out := map[string][]string{}
	section, block, header := "", "", true
	name := regexp.MustCompile("`([a-z_.]+)`")
	for line := range strings.Lines(string(doc)) {
		first, rest, row := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		switch {
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "|---"):
		case !row || !strings.HasPrefix(line, "| "):
			header = true // of the next table
		case header:
			header, block = false, ""
			if m := name.FindStringSubmatch(first); m != nil {
				block = m[1]
			}
			if first == "setting" || section == "Runtimes" {
				block = sections[section]
			}
		case block != "":
			for _, m := range name.FindAllStringSubmatch(first, -1) {
				require.NotEmpty(t, strings.TrimSpace(strings.Trim(rest, " |\n")), "%s.%s says nothing", block, m[1])
				out[block] = append(out[block], m[1])
			}
		}
	}
	return out
}

func TestDocs_everyMetricIsThere(t *testing.T) {
	doc, err := os.ReadFile("../docs/driver.md")
	require.NoError(t, err)
	var want []string
	for _, m := range telemetry.Metrics() {
		label := ""
		if m.Label != "" {
			label = "`" + m.Label + "`: " + strings.Join(m.Values, ", ")
		}
		want = append(want, fmt.Sprintf("| `nomad_driver_vllm_%s` | %s | %s | %s |", m.Name, m.Kind, label, m.Meaning))
	}
	require.Equal(t, want, regexp.MustCompile("(?m)^\\| `nomad_driver_vllm_.*$").FindAllString(string(doc), -1))
}

func TestDocs_everyAttributeIsThere(t *testing.T) {
	doc, err := os.ReadFile("../docs/driver-attributes.md")
	require.NoError(t, err)
	var packages []string
	for _, names := range distributions() {
		packages = append(packages, names[0]+"-1.2.3")
	}
	d := New(t.Context(), hclog.NewNullLogger())
	d.cfg.Command = python(t, packages...)
	rows := regexp.MustCompile("(?m)^\\| `.*$").FindAllString(string(doc), -1)
	seen := map[string]bool{}
	for name := range d.fingerprint().Attributes {
		name = strings.Replace(name, ".runtime.default.", ".runtime.NAME.", 1)
		i := slices.IndexFunc(rows, func(r string) bool {
			return strings.Contains(r, "`"+name+"`") || strings.Contains(r, "runtime.NAME") && strings.Contains(r, "`."+name[strings.LastIndex(name, ".")+1:]+"`")
		})
		require.GreaterOrEqual(t, i, 0, "docs/driver-attributes.md has no %s", name)
		seen[rows[i]] = true
	}
	require.Len(t, seen, len(rows), "a row whose attribute no node has")
}
