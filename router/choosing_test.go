package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
)

// several is a rig with so many prefills and decodes, named p0, p1, ... and d0, ...
func several(t *testing.T, cfg Config, prefills, decodes int) (r *rig, p, d []*engine) {
	world := newEngines(t)
	var all []*fleet.Instance
	for n := range prefills {
		p = append(p, world.start())
		all = append(all, inst(fmt.Sprint("p", n), p[n].URL, pd.RolePrefill))
	}
	for n := range decodes {
		d = append(d, world.start())
		all = append(all, inst(fmt.Sprint("d", n), d[n].URL, pd.RoleDecode))
	}
	return newRigWith(t, cfg, all...), p, d
}

func TestPrefix_conversationStaysOnItsPrefill(t *testing.T) {
	r, _, _ := several(t, Config{}, 4, 1)
	used := map[string]bool{}
	for c := range 12 {
		text := fmt.Sprintf("conversation %d: ", c) + strings.Repeat("the story so far ", 200)
		first := ""
		for turn := range 3 {
			answer := r.post(chatPath, fmt.Sprintf(`{"messages":[{"role":"user","content":"%s%s"}]}`, text, strings.Repeat("and then ", 100*turn)))
			answer.served(t, pd.PathDisaggregated, pd.ReasonNone)
			if first == "" {
				first = answer.Header.Get(pd.HeaderPrefill)
			}
			require.Equal(t, first, answer.Header.Get(pd.HeaderPrefill), "turn %d of conversation %d", turn, c)
		}
		used[first] = true
	}
	require.Greater(t, len(used), 1, "different conversations spread")
}

func TestShortPrompt_goesLocal(t *testing.T) {
	r, p, _ := several(t, Config{LocalBelow: 1 << 10}, 1, 1)
	r.post(cmplPath, `{"prompt":"short"}`).served(t, pd.PathLocal, pd.ReasonShortPrompt)
	require.Empty(t, p[0].requests())
	r.post(cmplPath, `{"prompt":"`+strings.Repeat("long ", 500)+`"}`).served(t, pd.PathDisaggregated, pd.ReasonNone)
	require.Equal(t, 1.0, r.metric("pd_router_requests_total", "path", "local", "reason", "short_prompt"))
}

func TestCachedPrompt_goesLocalToTheDecodeThatHoldsIt(t *testing.T) {
	r, p, _ := several(t, Config{LocalBelow: 1 << 10}, 2, 3)
	body := `{"prompt":"` + strings.Repeat("long ", 2000) + `"}`
	first := r.post(cmplPath, body)
	first.served(t, pd.PathDisaggregated, pd.ReasonNone)
	for range 5 {
		again := r.post(cmplPath, body)
		again.served(t, pd.PathLocal, pd.ReasonCachedPrefix)
		require.Equal(t, first.Header.Get(pd.HeaderDecode), again.Header.Get(pd.HeaderDecode))
	}
	require.Len(t, append(p[0].requests(), p[1].requests()...), 1)
}

func TestLocalThreshold_otherSaltOrToolsIsAnotherPrefix(t *testing.T) {
	r, _, _ := several(t, Config{LocalBelow: 1 << 10}, 1, 1)
	messages := `"messages":[{"role":"user","content":"` + strings.Repeat("long ", 2000) + `"}]`
	for _, extra := range []string{"", `"cache_salt":"mine",`, `"tools":[{"type":"function","function":{"name":"f"}}],`} {
		r.post(chatPath, "{"+extra+messages+"}").served(t, pd.PathDisaggregated, pd.ReasonNone)
		r.post(chatPath, "{"+extra+messages+"}").served(t, pd.PathLocal, pd.ReasonCachedPrefix)
	}
}

func TestLoadReport_isAskedForUsedAndKeptFromTheClient(t *testing.T) {
	r, p, d := several(t, Config{}, 1, 2)
	full := func(_ int, w http.ResponseWriter, req *http.Request, _ map[string]json.RawMessage) bool {
		if req.Header.Get(choose.ReportFormatHeader) != "JSON" {
			t.Error("the load is not asked for")
		}
		w.Header().Set(choose.ReportHeader, `JSON {"named_metrics": {"num_requests_waiting": 50.0, "kv_cache_usage_perc": 0.99}}`)
		return false
	}
	p[0].onGenerate(full)
	d[0].onGenerate(full)
	for len(d[0].requests()) == 0 {
		answer := r.post(cmplPath, `{"prompt":"x"}`)
		require.Empty(t, answer.Header.Values(choose.ReportHeader))
	}
	for range 5 {
		answer := r.post(cmplPath, `{"prompt":"x"}`)
		require.Equal(t, "d1", answer.Header.Get(pd.HeaderDecode), "50 wait at the other")
	}
}

func TestLoadReport_aClientThatAsksGetsWhatThereIs(t *testing.T) {
	r, _, d := several(t, Config{}, 0, 1)
	d[0].onGenerate(func(_ int, w http.ResponseWriter, req *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set(choose.ReportHeader, strings.Join(req.Header.Values(choose.ReportFormatHeader), "+")+" load")
		return false
	})
	answer := r.post(cmplPath, `{"prompt":"x"}`, choose.ReportFormatHeader, "TEXT")
	require.Equal(t, []string{"TEXT load"}, answer.Header.Values(choose.ReportHeader))
}

func TestBreaker_busyOrRefusingIsNotIll(t *testing.T) {
	r, p, _ := several(t, Config{}, 2, 1)
	p[0].onGenerate(func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		http.Error(w, "busy", http.StatusTooManyRequests)
		return true
	})
	for range 40 {
		r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, pd.ReasonNone)
	}
	require.Greater(t, len(p[0].requests()), 6)
}
