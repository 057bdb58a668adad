package driver

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// versions makes a table of packages of "vllm", "0.32.0", ...
func versions(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

func on(s situation, change ...func(*situation)) situation {
	for _, c := range change {
		c(&s)
	}
	return s
}

func have(pairs ...string) func(*situation) {
	return func(s *situation) { s.Versions = versions(pairs...) }
}

func gpusOf(visible string) func(*situation) {
	return func(s *situation) { s.GPUs = gpus{1 + strings.Count(visible, ","), visible} }
}

func noGPUs(s *situation) { s.GPUs = gpus{} }

func args(list ...string) func(*situation) {
	return func(s *situation) { s.Task.Args = list }
}

func withEnv(name, value string) func(*situation) {
	return func(s *situation) { s.Env = map[string]string{name: value} }
}

// pipelined runs two pipeline stages on as many GPUs.
func pipelined(s *situation) { s.Task.PipelineParallelSize, s.GPUs = 2, gpus{2, "0,1"} }

// rowCase has what a row is about, and what lies next door.
type rowCase struct{ bad, near situation }

func rowCases() map[string]rowCase {
	local := KVTransfer{Connector: vllm.LMCacheConnectorV1}
	keys := func(version, key string) situation {
		return cluster("decode", lmcacheWith(func(l *LMCache) {
			l.Version, l.Settings = version, map[string]string{key: "1"}
		}))
	}
	remote := func(extra map[string]string) situation {
		return on(cluster("both", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{
			RemoteURL: "mooncakestore://10.0.0.5:50051/", ExtraConfig: extra,
		}}), have("lmcache", "0.4.7"))
	}
	send := func(mode string) situation {
		return on(cluster("prefill", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{
			PD: sender(), Settings: map[string]string{"pd_backend_mode": mode},
		}}), have("lmcache", "0.5.3"), func(s *situation) {
			s.Task.KVTransfer.LMCache.PD.ReceiverHost, s.Task.KVTransfer.LMCache.PD.ReceiverPort = "", 0
		})
	}
	mp := KVTransfer{Connector: vllm.LMCacheMPConnector, LMCacheMP: &LMCacheMP{Port: "lmcache"}}
	nixl := KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl"}
	push := KVTransfer{Connector: vllm.NixlPushConnector, SideChannelPort: "nixl", EngineID: "p-0"}
	multi := func(parts ...KVTransfer) KVTransfer {
		return KVTransfer{Connector: vllm.MultiConnector, EngineID: "p-0", Parts: parts}
	}
	pushPart := push
	pushPart.EngineID = "" // the whole's
	bidirectional, cuda, store := push, nixl, KVTransfer{Connector: vllm.MooncakeStoreConnector, MooncakeStore: &MooncakeStore{MasterServerAddress: "10.0.0.5:50051"}}
	bidirectional.Extra = map[string]string{"bidirectional_kv_xfer": "true"}
	cuda.KVBufferDevice = "cuda"
	offload := KVTransfer{Connector: vllm.OffloadingConnector, Offloading: &Offloading{CPUSize: "1GiB"}}
	own := KVTransfer{Connector: "Acme", ModulePath: "acme.kv", KVBufferSize: "1GiB"}
	stop := func(s *situation) { s.Task.KillTimeout = "30s" }
	return map[string]rowCase{
		"lmcache-wrong-text":       {on(cluster("both", local), have("vllm", "0.26.0")), on(cluster("both", local), have("vllm", "0.25.1"))},
		"lmcache-old-keys":         {keys("0.5.3", "enable_nixl"), keys("0.5.3", "pd_backend_mode")},
		"lmcache-new-keys":         {keys("0.3.6", "pd_role"), keys("0.3.6", "enable_controller")},
		"lmcache-torch":            {on(cluster("both", mp), have("lmcache", "0.5.4", "torch", "2.11.0+cu130")), on(cluster("both", mp), have("lmcache", "0.5.3", "torch", "2.11.0+cu130"))},
		"lmcache-no-gpu":           {on(cluster("both", local), noGPUs), on(cluster("both", local), noGPUs, withEnv("ROCR_VISIBLE_DEVICES", "0"))},
		"lmcache-store-address":    {remote(nil), remote(map[string]string{"mooncake_master_server_addr": "10.0.0.5:50051"})},
		"lmcache-plain-request":    {send("async"), send("sync")},
		"lmcache-mp-hybrid":        {cluster("both", mp), on(cluster("both", mp), args("--disable-hybrid-kv-cache-manager"))},
		"lmcache-mp-no-gpu":        {cluster("both", mp), on(cluster("both", mp), gpusOf("0"))},
		"lmcache-mp-multi":         {on(cluster("decode", multi(nixl, mp)), have("vllm", "0.23.1")), on(cluster("decode", multi(nixl, mp)), have("vllm", "0.26.0"))},
		"nixl-kv-both":             {cluster("both", nixl), cluster("decode", nixl)},
		"nixl-no-connector":        {on(cluster("decode", nixl), have("vllm", "0.8.5.post1")), on(cluster("decode", nixl), have("vllm", "0.9.0"))},
		"nixl-no-push":             {on(cluster("prefill", push), have("vllm", "0.22.1")), on(cluster("prefill", nixl), have("vllm", "0.22.1"))},
		"nixl-rank-ports":          {on(cluster("prefill", nixl), have("vllm", "0.10.2"), gpusOf("0,1"), func(s *situation) { s.Task.TensorParallelSize = 2 }), on(cluster("prefill", nixl), have("vllm", "0.10.2"))},
		"nixl-decode-pp":           {on(cluster("decode", push), pipelined), on(cluster("prefill", push), pipelined)},
		"nixl-prefill-pp":          {on(cluster("prefill", nixl), pipelined), on(cluster("prefill", push), pipelined)},
		"nixl-push-bidirectional":  {cluster("prefill", bidirectional), cluster("prefill", push)},
		"nixl-two":                 {cluster("prefill", multi(nixl, pushPart)), cluster("prefill", multi(nixl, mp))},
		"nixl-cpu-buffer":          {on(cluster("decode", cuda), have("vllm", "0.32.0")), on(cluster("decode", cuda), have("vllm", "0.32.0"), gpusOf("0"))},
		"nixl-expandable-segments": {on(cluster("decode", nixl), withEnv("PYTORCH_CUDA_ALLOC_CONF", "a:b,expandable_segments:True")), on(cluster("decode", nixl), withEnv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:False"))},
		"nixl-abort-timeout":       {on(cluster("decode", nixl), have("vllm", "0.32.0"), withEnv("VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "60")), on(cluster("decode", nixl), have("vllm", "0.20.0"), withEnv("VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "60"))},
		"nixl-1.0":                 {on(cluster("decode", nixl), have("nixl", "1.0.1")), on(cluster("decode", nixl), have("nixl", "1.1.0"))},
		"nixl-1.3.0":               {on(cluster("decode", nixl), have("nixl", "1.3.0")), on(cluster("decode", nixl), have("nixl", "1.3.2"))},
		"mooncake-no-gpu":          {on(cluster("both", store), have("vllm", "0.32.0")), on(cluster("both", store), have("vllm", "0.32.0"), gpusOf("0"))},
		"offloading-no-gpu":        {on(cluster("both", offload), have("vllm", "0.32.0")), on(cluster("both", offload), have("vllm", "0.32.0"), gpusOf("0"))},
		"kv-buffer-size":           {on(cluster("both", own), have("vllm", "0.32.0")), on(cluster("both", own), have("vllm", "0.26.0"))},
		"mig-uuid":                 {on(cluster("decode", nixl), have("vllm", "0.22.0"), gpusOf("MIG-1")), on(cluster("decode", nixl), have("vllm", "0.22.0"), gpusOf("0"))},
		"no-shutdown-timeout":      {on(cluster("decode", nixl), have("vllm", "0.17.1"), stop), on(cluster("decode", nixl), have("vllm", "0.18.0"), stop)},
	}
}

func TestKnownBad_everyRowHoldsAndNotNextDoor(t *testing.T) {
	cases := rowCases()
	for _, row := range knownBads() {
		t.Run(row.id, func(t *testing.T) {
			c, ok := cases[row.id]
			require.True(t, ok, "a row without a case")
			delete(cases, row.id)

			p, err := newPlan(c.bad)
			said := strings.Join(p.Notes, "\n")
			if row.severity == fatal {
				require.Error(t, err)
				said = err.Error()
				require.Contains(t, said, fmt.Sprintf("allow_known_bad = [%q]", row.id))
				var start *startError
				require.ErrorAs(t, configError(err), &start)
				require.False(t, start.IsRecoverable(), "it does not mend itself")
			} else {
				require.NoError(t, err)
				require.Contains(t, said, fmt.Sprintf("Known problem %q: ", row.id))
			}
			for _, part := range []string{row.reason, row.source, row.wayOut} {
				require.Contains(t, said, part)
			}

			allowed := on(c.bad, func(s *situation) { s.Task.AllowKnownBad = []string{row.id} })
			p, err = newPlan(allowed)
			require.NoError(t, err, "the only mistake in it")
			require.Contains(t, strings.Join(p.Notes, "\n"), fmt.Sprintf("KNOWN BAD, allowed by allow_known_bad %q: ", row.id))

			p, err = newPlan(c.near)
			require.NoError(t, err)
			require.NotContains(t, strings.Join(p.Notes, "\n"), fmt.Sprintf("%q: ", row.id))
		})
	}
	require.Empty(t, slices.Collect(maps.Keys(cases)), "cases of rows that are gone")
}

// What is not installed by any sign must not stop a task: a simulator, or
// packages where the driver does not look.
func TestKnownBad_aVersionThatIsNotKnownStopsNothing(t *testing.T) {
	for _, row := range knownBads() {
		if c := rowCases()[row.id]; len(c.bad.Versions) > 0 {
			_, err := newPlan(on(c.bad, func(s *situation) { s.Versions = nil }))
			require.NoError(t, err, row.id)
		}
	}
}

func TestKnownBad_allowing(t *testing.T) {
	allow := func(ids ...string) error {
		_, err := newPlan(good(func(s *situation) { s.Task.AllowKnownBad = ids }))
		return err
	}
	require.ErrorContains(t, allow("lmcache-wrong-txt"), `allow_known_bad has "lmcache-wrong-txt", which is none of lmcache-wrong-text, lmcache-old-keys, `)
	p, err := newPlan(good(func(s *situation) { s.Task.AllowKnownBad = []string{"mig-uuid"} }))
	require.NoError(t, err)
	require.Equal(t, []string{`allow_known_bad has "mig-uuid", which is not the case here; remove it`}, p.Notes)
}

func TestKnownBad_theErrorTellsItAll(t *testing.T) {
	_, err := newPlan(rowCases()["lmcache-wrong-text"].bad)
	require.EqualError(t, err, "known bad: LMCacheConnectorV1, vLLM 0.26.0: LMCache in the engine's process misreads vLLM's packed KV layout: every hit answers wrong text, with status 200 "+
		"(measured with vLLM 0.26.0 and LMCache 0.5.3; vllm #52617, LMCache #4463, #4614). To do: use MultiConnector with NixlConnector and LMCacheMPConnector, or a runtime with vLLM 0.25; "+
		`or accept it with allow_known_bad = ["lmcache-wrong-text"]`)
}

func TestKnownBad_looksIntoTheUsersOwnFlag(t *testing.T) {
	for _, raw := range []string{
		`{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}`,
		`{"kv_connector":"MultiConnector","kv_role":"kv_both","kv_connector_extra_config":{"connectors":[{"kv_connector":"NixlConnector"},{"kv_connector":"LMCacheConnectorV1"}]}}`,
	} {
		s := good(func(s *situation) {
			s.Task.Role, s.Task.KVTransfer = "prefill", nil
			s.Task.Args, s.Versions = []string{"--kv-transfer-config=" + raw}, versions("vllm", "0.33.1")
			s.GPUs = gpus{1, "0"}
		})
		_, err := newPlan(s)
		require.ErrorContains(t, err, "known bad: LMCacheConnectorV1, vLLM 0.33.1")
	}
}

func TestKnownBad_keysOfAVersionThatIsNotKnownAreAMistake(t *testing.T) {
	_, err := newPlan(cluster("decode", lmcacheWith(func(l *LMCache) {
		l.Version, l.Settings = "", map[string]string{"enable_nixl": "true"}
	})))
	require.EqualError(t, err, "kv_transfer.lmcache: LMCache 0.5.6 ignores the key enable_nixl; write enable_pd")
}

func TestRelease_bounds(t *testing.T) {
	for version, in := range map[string]bool{"0.5.3": false, "0.5.4": true, "0.5.4rc1": true, "0.5.10": true, "0.6": false, "0.6.0": false, "v0.5.9+cu130": true, "1.0": false} {
		r, ok := parseRelease(version)
		require.True(t, ok)
		got, err := r.in(">= 0.5.4, < 0.6")
		require.NoError(t, err)
		require.Equal(t, in, got, version)
	}
	_, ok := parseRelease("unknown")
	require.False(t, ok)
	for _, bounds := range []string{"", "0.5", "> 0.5", ">=0.5", ">= x"} {
		_, err := release{1}.in(bounds)
		require.ErrorContains(t, err, "want bounds such as")
	}
	// A mistake in the table would be reported to every user.
	for _, row := range knownBads() {
		for part := range strings.SplitSeq(row.when.text, "; ") {
			if _, bounds, found := strings.Cut(part, " >= "); found {
				_, err := release{1}.in(">= " + bounds)
				require.NoError(t, err, row.id)
			}
		}
	}
}

func TestEngineV1_byVersion(t *testing.T) {
	for version, want := range map[string]string{
		"0.7.3": "vLLM 0.7.3: its v1 engine has no KV connectors (vLLM 0.8.5 was the first with them)", "0.8.4": "vLLM 0.8.4: ", "0.33.1": "", "": "",
	} {
		_, err := newPlan(good(have("vllm", version)))
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
		_, err = newPlan(good(have("vllm", version), func(s *situation) { s.Task.Role, s.Task.KVTransfer = "both", nil }))
		require.NoError(t, err, "without P/D any vLLM will do")
	}
}

func TestLMCache_theInstalledVersionHoldsAndMustNotBeContradicted(t *testing.T) {
	s := cluster("decode", lmcacheWith(func(l *LMCache) { l.Version = "" }))
	s.Versions, s.LMCacheVersion = versions("lmcache", "0.3.6"), "0.5.3"
	p, err := newPlan(s)
	require.NoError(t, err)
	require.Contains(t, string(p.Files[0].Content), "enable_nixl: true")
	require.Empty(t, p.Notes)

	s.Task.KVTransfer.LMCache.Version = "0.5.3"
	_, err = newPlan(s)
	require.ErrorContains(t, err, `kv_transfer.lmcache.version "0.5.3", but the engine's LMCache is 0.3.6: it would ignore the other's settings; remove version, or choose another runtime`)
	s.Versions["lmcache"] = "0.5.3.post1"
	_, err = newPlan(s)
	require.NoError(t, err)
	s.Versions["lmcache"] = "unknown"
	_, err = newPlan(s)
	require.NoError(t, err)
}

const knownBadDoc = "../docs/known-bad.md"

// The page's table is the code's; UPDATE_GOLDEN=1 writes it.
func TestKnownBad_thePageIsTheTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| id | severity | when | what happens | source | way out |\n|---|---|---|---|---|---|\n")
	for _, r := range knownBads() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | %s |\n", r.id, r.severity, r.when.text, r.reason, r.source, r.wayOut)
	}
	page, err := os.ReadFile(knownBadDoc)
	require.NoError(t, err)
	at := slices.Index(strings.Split(string(page), "\n"), "| id | severity | when | what happens | source | way out |")
	require.Positive(t, at)
	head := strings.Join(strings.Split(string(page), "\n")[:at], "\n") + "\n"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(knownBadDoc, []byte(head+table.String()), 0o644))
		return
	}
	require.Equal(t, head+table.String(), string(page), "run with UPDATE_GOLDEN=1")
}
