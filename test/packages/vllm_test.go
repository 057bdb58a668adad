//go:build packages

package packages

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// vllmReport is what read_vllm.py writes.
type vllmReport struct {
	Version string              `json:"version"`
	Cases   map[string]vllmRead `json:"cases"`
}

type vllmRead struct {
	Transfer map[string]any      `json:"transfer"`
	Env      map[string]any      `json:"env"`
	Store    map[string]any      `json:"store"`
	Read     map[string][]string `json:"read"`
	Error    string              `json:"error"`
}

// transferConfig is the value of a launch's --kv-transfer-config.
func transferConfig(t *testing.T, g golden) vllm.KVTransferConfig {
	t.Helper()
	var c vllm.KVTransferConfig
	require.NoError(t, json.Unmarshal([]byte(transferJSON(t, g)), &c))
	return c
}

func transferJSON(t *testing.T, g golden) string {
	t.Helper()
	i := slices.Index(g.Argv, "--kv-transfer-config")
	require.Positive(t, i)
	return g.Argv[i+1]
}

// TestVLLM has vLLM look at all launches, once: the driver's, one for each
// connector that is known by name, and wrong ones. The newest LMCache is in
// sight, because vLLM takes a connector from there.
func TestVLLM(t *testing.T) {
	l := launches{goldens: goldens(t), known: map[string]golden{}, wrong: wrongLaunches(t)}
	for _, name := range vllm.Connectors() {
		l.known[name] = launch(vllm.KVTransferConfig{Connector: name, Role: vllm.KVProducer})
	}
	all := map[string]golden{}
	for kind, cases := range map[string]map[string]golden{"golden ": l.goldens, "known ": l.known, "wrong ": l.wrong} {
		for name, g := range cases {
			require.Equal(t, "vllm serve", strings.Join(g.Argv[:2], " "))
			g.Argv = slices.Clone(g.Argv)
			g.Argv[2] = filepath.Join(directory(t, "VLLM_CPU_DIR"), "model") // vLLM looks for it
			all[kind+name] = g
		}
	}
	cases, err := json.Marshal(all)
	require.NoError(t, err)
	run(t, "read_vllm.py", []string{"lmcache-" + vllm.NewestLMCache().String(), "deps"}, &l.report, write(t, "cases.json", string(cases)))
	require.Len(t, l.report.Cases, len(all))
	t.Logf("vLLM %s", l.report.Version)
	t.Run("reads every launch that the driver plans", l.driven)
	t.Run("registers every connector that is known", l.registered)
	t.Run("a wrong launch is reported", l.reported)
}

type launches struct {
	goldens, known, wrong map[string]golden
	report                vllmReport
}

// vLLM's parser takes every flag, its configuration has every field with the
// value that the driver wrote, and the connector looks up every further key.
func (l launches) driven(t *testing.T) {
	for name, g := range l.goldens {
		t.Run(name, func(t *testing.T) { require.Empty(t, unreadByVLLM(t, name, g, l.report.Cases["golden "+name])) })
	}
}

// unreadByVLLM names what vLLM refuses, ignores or reads as something else.
func unreadByVLLM(t *testing.T, name string, g golden, read vllmRead) (problems []string) {
	t.Helper()
	if read.Error != "" {
		return []string{name + ": vLLM refuses it: " + read.Error}
	}
	differ := func(what string, want, got any) {
		if !same(want, got) {
			problems = append(problems, fmt.Sprintf("%s: %s is %v to vLLM, not %v", name, what, got, want))
		}
	}
	var wrote map[string]any
	require.NoError(t, json.Unmarshal([]byte(transferJSON(t, g)), &wrote))
	for field, want := range wrote {
		differ("--kv-transfer-config "+field, want, read.Transfer[field])
	}
	for key, value := range g.Env {
		if got, ok := read.Env[key]; ok && key != "VLLM_NO_USAGE_STATS" { // "1" is true to vLLM
			differ("environment "+key, value, fmt.Sprint(got))
		} else if !ok && strings.HasPrefix(key, "VLLM_") {
			problems = append(problems, name+": vLLM has no variable "+key)
		}
	}
	if g.Store != "" {
		var store map[string]any
		b, err := os.ReadFile(g.Store)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &store))
		for key, want := range store {
			differ("mooncake.json "+key, want, read.Store[key])
		}
	}
	return append(problems, unreadExtra(t, name, g, read)...)
}

// unreadExtra names the keys of kv_connector_extra_config, and of that of each
// part, that the connector's source does not look up.
func unreadExtra(t *testing.T, name string, g golden, read vllmRead) (problems []string) {
	t.Helper()
	whole := transferConfig(t, g)
	if strings.HasPrefix(name, "raw") { // a user's own keys
		return nil
	}
	parts := []vllm.KVTransferConfig{whole}
	if whole.Connector == vllm.MultiConnector {
		b, err := json.Marshal(whole.Extra["connectors"])
		require.NoError(t, err)
		var inner []vllm.KVTransferConfig
		require.NoError(t, json.Unmarshal(b, &inner))
		require.NotEmpty(t, inner)
		parts = append(parts, inner...)
	}
	for _, p := range parts {
		if len(read.Read[p.Connector]) == 0 {
			problems = append(problems, name+": vLLM registers no connector "+p.Connector)
		}
		for key := range p.Extra {
			if !slices.Contains(read.Read[p.Connector], key) {
				problems = append(problems, fmt.Sprintf("%s: %s does not look up %s", name, p.Connector, key))
			}
		}
	}
	return problems
}

func (l launches) registered(t *testing.T) {
	for name := range l.known {
		read := l.report.Cases["known "+name]
		require.Empty(t, read.Error, name)
		require.NotEmpty(t, read.Read[name], "%s: vLLM registers no such connector, or it reads no setting", name)
	}
}

func launch(c vllm.KVTransferConfig, args ...string) golden {
	text, _ := c.JSON()
	return golden{Argv: append([]string{"vllm", "serve", "m", "--kv-transfer-config", text}, args...), Env: map[string]string{}}
}

// wrongLaunches has one mistake in each.
func wrongLaunches(t *testing.T) map[string]golden {
	nixl := vllm.KVTransferConfig{Connector: vllm.NixlConnector, Role: vllm.KVProducer}
	sized, misspelt, unknown := nixl, nixl, nixl
	sized.BufferSize = 1 << 30
	misspelt.Extra = map[string]any{"kv_lease_durations": 60}
	unknown.Connector = "NixlConector"
	env := launch(nixl)
	env.Env = map[string]string{"VLLM_NIXL_SIDE_CHANEL_PORT": "1"}
	store := launch(vllm.KVTransferConfig{Connector: vllm.MooncakeStoreConnector, Role: vllm.KVBoth})
	store.Store = write(t, "mooncake.json", `{"master_server": "m:1"}`)
	return map[string]golden{
		"flag": launch(nixl, "--no-such-flag=1"), "field": launch(sized), "key": launch(misspelt), "connector": launch(unknown), "env": env, "store": store,
	}
}

// The checks above can fail: each mistake is reported by its name.
func (l launches) reported(t *testing.T) {
	for name, want := range map[string]string{
		"flag": "--no-such-flag", "field": "kv_buffer_size", "key": "does not look up kv_lease_durations",
		"connector": "registers no connector NixlConector", "env": "no variable VLLM_NIXL_SIDE_CHANEL_PORT", "store": "mooncake.json master_server",
	} {
		require.Contains(t, strings.Join(unreadByVLLM(t, name, l.wrong[name], l.report.Cases["wrong "+name]), "\n"), want, name)
	}
}
