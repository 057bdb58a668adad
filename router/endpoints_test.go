package router

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestEndpoints_aStreamThatBreaksOffEndsInItsOwnWords(t *testing.T) {
	for path, c := range map[string]struct{ body, last string }{
		responsesPath: {`{"model":"m","input":"hello there","max_output_tokens":50,"stream":true}`, "error"},
		messagesPath:  {`{"model":"m","messages":[{"role":"user","content":"hello there"}],"max_tokens":50,"stream":true}`, "error"},
	} {
		t.Run(path, func(t *testing.T) {
			p, d := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "cut@1=9")
			r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
			got := r.post(path, c.body)
			got.served(t, pd.PathDisaggregated, "")
			events := strings.Split(strings.TrimSpace(got.body), "\n\n")
			name, data, _ := strings.Cut(events[len(events)-1], "\n")
			require.Equal(t, "event: "+c.last, name)
			var e struct {
				Type, Message, Code string
				Sequence            int `json:"sequence_number"`
				Error               struct{ Type, Message string }
			}
			require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &e), data)
			require.Equal(t, "error", e.Type)
			require.Contains(t, e.Message+e.Error.Message, "broke off the answer")
			require.NotContains(t, got.body, "[DONE]")
			if path == responsesPath {
				require.Equal(t, strings.Count(got.body, "\ndata: ")-1, e.Sequence, "it goes on counting")
			}
			require.Positive(t, r.metric("pd_router_stream_failures_total", "kind", "cut"))
		})
	}
}

func TestEndpoints_errorsAreInTheProtocolsShape(t *testing.T) {
	r := newRig(t)
	got := r.post(messagesPath, `{"model":"m","max_tokens":1,"messages":[]}`)
	require.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	require.JSONEq(t, `{"type":"error","error":{"type":"ServiceUnavailableError","message":"no instance is known yet: the list of instances has not been read"}}`, got.body)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	r.post(responsesPath, `{"model":"m","input":"x"}`).apiError(t, http.StatusServiceUnavailable)
}

// A response repeats its request's metadata, which may read like its own status.
func TestEndpoints_whatAnAnswerRepeatsIsNotItsOwn(t *testing.T) {
	p, d := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "")
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	got := r.post(responsesPath, `{"model":"m","input":"hello there","max_output_tokens":5,"metadata":{"status":"cancelled"}}`)
	got.served(t, pd.PathDisaggregated, "")
	require.Contains(t, got.body, `"metadata":{"status":"cancelled"}`)
}
