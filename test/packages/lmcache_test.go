//go:build packages

package packages

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// lmcacheReport is what read_lmcache.py writes.
type lmcacheReport struct {
	Version       string                 `json:"version"`
	Keys          []string               `json:"keys"`
	ConnectorKeys []string               `json:"connector_keys"`
	Files         map[string]lmcacheRead `json:"files"`
}

type lmcacheRead struct {
	Values   map[string]any            `json:"values"`
	Warnings []string                  `json:"warnings"`
	Used     map[string]map[string]any `json:"used"`
	Error    string                    `json:"error"`
}

// TestLMCache has every installed version read every file, once, and asks
// different things of what came out.
func TestLMCache(t *testing.T) {
	r := reading{all: goldens(t), reports: map[string]lmcacheReport{}, wrong: write(t, "wrong.yaml", "chunk_sice: 256\nlocal_cpu: false\n")}
	paths := []string{r.wrong}
	for _, g := range r.all {
		if g.lmcache != "" {
			paths = append(paths, g.lmcache)
		}
	}
	for _, version := range installed(t, "lmcache") {
		var report lmcacheReport
		run(t, "read_lmcache.py", []string{"lmcache-" + version, "deps"}, &report, paths...)
		require.Equal(t, version, report.Version)
		r.reports[version] = report
	}
	require.GreaterOrEqual(t, len(r.reports), 6)
	t.Run("reads every key that the driver writes", r.everyKey)
	t.Run("hands the settings to the transfer", r.transfer)
	t.Run("key table is the loader's own", r.keyTable)
	t.Run("a wrong key is reported", r.wrongKey)
	t.Run("the other generation's file is reported", r.otherGeneration)
	t.Run("Mooncake takes every setting that LMCache hands on", r.mooncake)
}

// reading is what each version made of each golden file and of a wrong one.
type reading struct {
	all     map[string]golden
	reports map[string]lmcacheReport
	wrong   string
}

// generation is the LMCache that a golden file is for.
func generation(name string) string {
	if v := regexp.MustCompile(`^lmcache-(\d+\.\d+\.\d+)`).FindStringSubmatch(name); v != nil {
		return v[1]
	}
	if name == "lmcache-version-unknown" {
		return vllm.NewestLMCache().String()
	}
	return "0.5.3" // what goldenCases says of the others
}

// Every key of every file arrives at the loader of its own generation with the
// value that the driver wrote, and LMCache's side of the connector looks up the
// rest.
func (r reading) everyKey(t *testing.T) {
	seen := map[string]bool{}
	for name, g := range r.all {
		if g.lmcache == "" {
			continue
		}
		report, ok := r.reports[generation(name)]
		require.True(t, ok, "%s: LMCache %s is not installed", name, generation(name))
		require.Empty(t, unread(t, report, g.lmcache), name)
		for key := range transferConfig(t, g).Extra {
			require.Contains(t, report.ConnectorKeys, key, "%s: kv_connector_extra_config", name)
		}
		seen[report.Version] = true
	}
	require.GreaterOrEqual(t, len(seen), 6)
}

// unread names each key of a file that this LMCache does not read, or not as
// it was written.
func unread(t *testing.T, r lmcacheReport, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var wrote map[string]any
	require.NoError(t, yaml.Unmarshal(b, &wrote))
	read := r.Files[path]
	if read.Error != "" {
		return []string{"LMCache " + r.Version + ": " + read.Error}
	}
	var problems []string
	for key, want := range wrote {
		got, ok := read.Values[key]
		if s, isText := want.(string); isText && key == "local_disk" {
			want = strings.TrimPrefix(s, "file://") // as the loader hands it on
		}
		if !ok {
			problems = append(problems, fmt.Sprintf("LMCache %s does not read %s", r.Version, key))
		} else if !same(want, got) {
			problems = append(problems, fmt.Sprintf("LMCache %s reads %s as %v, not %v", r.Version, key, got, want))
		}
	}
	for _, w := range read.Warnings {
		if strings.Contains(w, "Unknown configuration key") {
			problems = append(problems, "LMCache "+r.Version+" says: "+w)
		}
	}
	slices.Sort(problems)
	return problems
}

// same compares what YAML and JSON read: 20 and 20.0 are one number.
func same(a, b any) bool {
	return reflect.DeepEqual(decoded(a), decoded(b))
}

func decoded(v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = json.Unmarshal(b, &out) // of what was just encoded
	return out
}

// What the file asks for reaches the part that moves KV, under its own names.
func (r reading) transfer(t *testing.T) {
	for name, want := range map[string]map[string]any{
		"lmcache-0.3.3-decode":       {"role": "receiver", "receiver_host": "10.0.0.7", "receiver_port": 7300.0, "enable_gc": true, "buffer_size": 1073741824.0},
		"lmcache-0.3.6-prefill":      {"role": "sender", "receiver_host": "10.0.0.8", "receiver_port": 7300.0},
		"lmcache-0.3.3-xpyd-decode":  {"role": "receiver", "peer_host": "10.0.0.7", "peer_init_port": []any{7300.0}, "peer_alloc_port": []any{7302.0}},
		"lmcache-0.3.6-xpyd-prefill": {"role": "sender", "proxy_host": "10.0.0.9", "proxy_port": 7500.0, "buffer_size": 1073741824.0},
		"lmcache-0.3.7-prefill":      {"role": "sender", "proxy_host": "10.0.0.9", "proxy_port": 7500.0},
		"lmcache-0.5.6-decode":       {"role": "receiver", "peer_host": "10.0.0.7", "peer_init_port": 7300.0, "peer_alloc_port": 7302.0, "buffer_size": 1073741824.0},
	} {
		read := r.reports[generation(name)].Files[r.all[name].lmcache]
		require.Len(t, read.Used, 1, "%s: %s", name, read.Error)
		for _, used := range read.Used {
			for key, value := range want {
				require.Equal(t, value, used[key], "%s: %s", name, key)
			}
		}
	}
}

// The table that the driver checks files by is the loader's own, in each version
// that is installed: no key too many and none too few.
func (r reading) keyTable(t *testing.T) {
	var every []string
	for _, report := range r.reports {
		every = append(every, report.Keys...)
	}
	slices.Sort(every)
	for version, report := range r.reports {
		v, err := vllm.ParseLMCacheVersion(version)
		require.NoError(t, err)
		for _, key := range slices.Compact(every) {
			assert.Equal(t, slices.Contains(report.Keys, key), v.Reads(key), "LMCache %s, key %s (left: the loader knows it)", version, key)
		}
	}
}

// The checks above can fail: a wrong key is reported by its name, a right one
// beside it is not.
func (r reading) wrongKey(t *testing.T) {
	problems := strings.Join(unread(t, r.reports["0.5.6"], r.wrong), "\n")
	require.Contains(t, problems, "LMCache 0.5.6 does not read chunk_sice")
	require.Contains(t, problems, "Unknown configuration key: chunk_sice")
	require.NotContains(t, problems, "local_cpu")
}

// Old keys on a current version, and the other way round: each is reported, and
// the hand-over stays off. LMCache up to 0.3.3 says no word about it.
func (r reading) otherGeneration(t *testing.T) {
	old, current := r.all["lmcache-0.3.6-prefill"].lmcache, r.all["lmcache-0.5.6-prefill"].lmcache
	for version, keys := range map[string][]string{
		"0.5.6": {"enable_nixl", "nixl_role", "nixl_receiver_host", "nixl_receiver_port", "nixl_enable_gc"},
		"0.3.7": {"enable_nixl", "nixl_role", "nixl_receiver_host", "nixl_receiver_port", "nixl_enable_gc"},
		"0.3.3": {"enable_pd", "pd_role", "pd_proxy_host", "pd_proxy_port", "transfer_channel"},
		"0.3.6": {"enable_pd", "pd_role", "pd_proxy_host", "pd_proxy_port", "transfer_channel"},
	} {
		file := old
		if strings.HasPrefix(keys[0], "enable_pd") {
			file = current
		}
		problems := strings.Join(unread(t, r.reports[version], file), "\n")
		for _, key := range keys {
			require.Contains(t, problems, "LMCache "+version+" does not read "+key)
			if version != "0.3.3" {
				require.Contains(t, problems, "Unknown configuration key: "+key)
			}
		}
		require.Empty(t, r.reports[version].Files[file].Used, version)
	}
	other := unread(t, r.reports["0.3.2"], r.all["lmcache-0.3.3-prefill"].lmcache)
	require.Contains(t, other[0], "Nixl only supports max_local_cpu_size=0")
}
