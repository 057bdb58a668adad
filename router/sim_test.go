package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

// The tests in this file run against the strict protocol simulator: its
// answers depend on the KV that arrived, and it dies of what kills vLLM.

func startSim(t *testing.T, role pd.Role, faults string) *sim.Instance {
	i, err := sim.Start(t.Context(), sim.Options{Model: "m", Role: role, Faults: faults})
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

func alive(t *testing.T, engines ...*sim.Instance) {
	t.Helper()
	for n, e := range engines {
		select {
		case <-e.Done():
			t.Errorf("engine %d died", n)
		default:
		}
	}
}

// text is what an answer says, streamed or not.
func text(t *testing.T, body string) string {
	t.Helper()
	var out strings.Builder
	docs := []string{body}
	if strings.HasPrefix(body, "data:") || strings.HasPrefix(body, "event:") {
		docs = strings.Split(body, "\n\n")
	}
	for _, d := range docs {
		if strings.HasPrefix(d, "event:") {
			_, d, _ = strings.Cut(d, "\n")
		}
		d = strings.TrimPrefix(d, "data: ")
		if d == "" || d == "[DONE]" {
			continue
		}
		var c struct {
			Error   any
			Choices []struct {
				Text           string
				Message, Delta struct{ Content string }
			}
			Output  []struct{ Content []struct{ Text string } } // a response
			Content []struct{ Text string }                     // a message
			Delta   json.RawMessage                             // a response's or a message's
		}
		require.NoError(t, json.Unmarshal([]byte(d), &c), d)
		require.Nil(t, c.Error, d)
		for _, x := range c.Choices {
			out.WriteString(x.Text + x.Message.Content + x.Delta.Content)
		}
		for _, o := range c.Output {
			for _, x := range o.Content {
				out.WriteString(x.Text)
			}
		}
		for _, x := range c.Content {
			out.WriteString(x.Text)
		}
		var delta struct{ Text string }
		var words string
		_, _ = json.Unmarshal(c.Delta, &delta), json.Unmarshal(c.Delta, &words)
		out.WriteString(delta.Text + words)
	}
	return out.String()
}

// simRequests are one request of each kind, with their paths.
func simRequests(salt string) map[string][2]string {
	words := salt + strings.Repeat(" prefill and decode apart", 30) // first, so that the prompts have no prefix in common
	chat := fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}],"temperature":0,"max_tokens":12`, words)
	cmpl := fmt.Sprintf(`{"model":"m","prompt":%q,"temperature":0,"max_tokens":12`, words)
	response := fmt.Sprintf(`{"model":"m","input":%q,"temperature":0,"max_output_tokens":12`, words)
	return map[string][2]string{
		"chat":        {chatPath, chat + `}`},
		"chat stream": {chatPath, chat + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"cmpl":        {cmplPath, cmpl + `,"min_tokens":4}`},
		"cmpl stream": {cmplPath, cmpl + `,"stream":true}`},

		"response":        {responsesPath, response + `}`},
		"response stream": {responsesPath, response + `,"stream":true}`},
		"message":         {messagesPath, chat + `,"system":"be brief"}`},
		"message stream":  {messagesPath, chat + `,"stream":true}`},
	}
}

func TestSim_answerEqualsAnAggregatedRun(t *testing.T) {
	p, d, whole := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, ""), startSim(t, "", "")
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	alone := newRig(t, inst("whole", whole.URL(), pd.RoleDecode))
	for name, q := range simRequests("a") {
		t.Run(name, func(t *testing.T) {
			got, want := r.post(q[0], q[1]), alone.post(q[0], q[1])
			got.served(t, pd.PathDisaggregated, "")
			want.served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
			require.NotEmpty(t, text(t, want.body))
			require.Equal(t, text(t, want.body), text(t, got.body))
		})
	}
	metrics := scrape(t, d.URL())
	require.Regexp(t, `vllm:prompt_tokens_by_source_total\{[^}]*source="external_kv_transfer"[^}]*\} [1-9]`, metrics, "KV came from the prefill")
}

func TestSim_hostileRequestsKillNobody(t *testing.T) {
	p, d := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "")
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	for _, hostile := range []string{
		`"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":true}`, `"kv_transfer_params":{"do_remote_prefill":true}`,
		`"kv_transfer_params":"x"`, `"kv_transfer_p\u0061rams":{"do_remote_prefill":true}`,
		`"kv_transfer_params":{},"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":true}`,
	} {
		for _, more := range []string{"", `,"n":2,"temperature":1`} {
			got := r.post(cmplPath, `{"model":"m","prompt":"hello there","max_tokens":3,`+hostile+more+`}`)
			require.Equal(t, 200, got.StatusCode, got.body)
		}
	}
	alive(t, p, d)
}

func TestSim_scriptedFaultsOfAPrefill(t *testing.T) {
	for _, faults := range []string{"500@1..3", "503@1..3", "die@1"} {
		t.Run(faults, func(t *testing.T) {
			p1, p2, d := startSim(t, pd.RolePrefill, faults), startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "")
			r := newRig(t, inst("p1", p1.URL(), pd.RolePrefill), inst("p2", p2.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
			for n := range 8 {
				q := simRequests(fmt.Sprint(n))["cmpl"]
				got := r.post(q[0], q[1])
				got.served(t, pd.PathDisaggregated, "")
			}
			require.Positive(t, r.metric("pd_router_retries_total", "leg", "prefill"))
			alive(t, d)
		})
	}
}

func TestSim_scriptedFaultsOfADecode(t *testing.T) {
	for _, faults := range []string{"500@1", "die@1"} {
		t.Run(faults, func(t *testing.T) {
			p1, p2 := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RolePrefill, "")
			d1, d2 := startSim(t, pd.RoleDecode, faults), startSim(t, pd.RoleDecode, "")
			r := newRig(t, inst("p1", p1.URL(), pd.RolePrefill), inst("p2", p2.URL(), pd.RolePrefill),
				inst("d1", d1.URL(), pd.RoleDecode), inst("d2", d2.URL(), pd.RoleDecode))
			for n := range 8 {
				for _, q := range simRequests(fmt.Sprint(n)) {
					got := r.post(q[0], q[1])
					got.served(t, pd.PathDisaggregated, "")
					require.NotEmpty(t, text(t, got.body))
				}
			}
			require.Positive(t, r.metric("pd_router_retries_total", "leg", "decode"))
			alive(t, p1, p2, d2)
		})
	}
}

// TestSim_prefillDiesBetweenTheLegs: the decode cannot fetch; a stream ends
// with an error event or with nothing at all. The client sees none of it.
func TestSim_prefillDiesBetweenTheLegs(t *testing.T) {
	for name, q := range simRequests("dying") {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a decode waits 5 s for a side channel that is gone
			p, d, whole := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, ""), startSim(t, "", "")
			r := newRig(t, inst("p", thenKill(t, p), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
			got := r.post(q[0], q[1])
			got.served(t, pd.PathLocal, pd.ReasonHandoffFailed)
			want := newRig(t, inst("whole", whole.URL(), pd.RoleDecode)).post(q[0], q[1])
			require.Equal(t, text(t, want.body), text(t, got.body))
			alive(t, d)
		})
	}
}

// thenKill passes leg 1 on to the instance and kills it before the answer goes out.
func thenKill(t *testing.T, p *sim.Instance) string {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		req, _ := http.NewRequestWithContext(r.Context(), r.Method, p.URL()+r.URL.Path, r.Body)
		req.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		p.Kill()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(b)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

func TestSim_modelsAndErrorsAreTheInstances(t *testing.T) {
	p, d := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "")
	anyModel := func(i *fleet.Instance) { i.Meta.Model = "" }
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill, anyModel), inst("d", d.URL(), pd.RoleDecode, anyModel))
	require.Contains(t, r.get("/v1/models").body, `"id":"m"`)
	require.Equal(t, "NotFoundError", r.post(chatPath, `{"model":"nope","messages":[{"role":"user","content":"x"}]}`).apiError(t, 404).Type)
	r.post(chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":5,"stream_options":{"include_usage":true}}`).apiError(t, 400)
	alive(t, p, d)
}

func scrape(t *testing.T, base string) string {
	resp, err := http.Get(base + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}
