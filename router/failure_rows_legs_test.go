package router

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

const (
	disaggregated = pd.PathDisaggregated
	// limit is short for a timeout and long for a simulator on a busy machine.
	limit = time.Second
)

// legRows are the rows in which an instance fails one leg, as they are played
// on an endpoint.
func legRows(e dialect) []legRow { return append(prefillRows(e), decodeRows(e)...) }

func prefillRows(e dialect) []legRow {
	const p = pd.RolePrefill
	fewer := func(n int) stageConfig { return stageConfig{prefills: n} }
	hang := within(limit)
	hang.slowPrefills = 1
	return []legRow{
		{id: "prefill-refuses", at: p, stage: fewer(5), closed: 4, path: disaggregated, prefills: 1, decodes: 1},
		{id: "prefill-all-refuse", at: p, closed: 2, path: pd.PathLocal, reason: pd.ReasonPrefillFailed, decodes: 1},
		{id: "prefill-resets-before", at: p, fault: instead(broken), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-resets-within", at: p, fault: after(half), path: disaggregated, prefills: 2, decodes: 1, leases: 1},
		{id: "prefill-hangs", at: p, stage: hang, path: disaggregated, prefills: 2, decodes: 1, cancelled: 1},
		{id: "prefill-slow", at: p, fault: lateBy(100 * time.Millisecond), path: disaggregated, prefills: 1, decodes: 1},
		{id: "prefill-400", at: p, fault: instead(e.status(400)), code: 400, says: "engine says 400", prefills: 1},
		{id: "prefill-413", at: p, fault: instead(e.status(413)), code: 413, says: "engine says 413", prefills: 1},
		{id: "prefill-422", at: p, fault: instead(e.status(422)), code: 422, says: "engine says 422", prefills: 1},
		{id: "prefill-401", at: p, fault: instead(e.status(401)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-403", at: p, fault: instead(e.status(403)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-404", at: p, fault: instead(e.status(404)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-all-404", at: p, fault: instead(e.status(404)), every: true, code: 404, says: "engine says 404", prefills: 2},
		{id: "prefill-429", at: p, fault: instead(e.status(429)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-500", at: p, fault: instead(e.status(500)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-503", at: p, fault: instead(e.status(503)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-always-fails", at: p, fault: instead(e.status(500)), every: true, stage: fewer(5), path: pd.PathLocal, reason: pd.ReasonPrefillFailed, prefills: 3, decodes: 1},
		{id: "prefill-no-params", at: p, fault: instead(say("application/json", strings.TrimSuffix(e.whole, "}")+`,"kv_transfer_params":null}`)), path: disaggregated, prefills: 2, decodes: 1},
		{id: "prefill-never-params", at: p, fault: instead(say("application/json", e.whole)), every: true, path: pd.PathLocal, reason: pd.ReasonNoTransferParams, prefills: 2, decodes: 1},
		{id: "prefill-garbage", at: p, fault: after(html), path: disaggregated, prefills: 2, decodes: 1, leases: 1},
		{id: "prefill-params-shape", at: p, fault: edited(`"remote_block_ids":[[`, `"remote_block_ids":[["x",`), path: disaggregated, prefills: 2, decodes: 1, leases: 1},
		{id: "prefill-foreign-params", at: p, fault: edited(`"remote_port":`, `"remote_port":1,"was":`), path: disaggregated, prefills: 2, decodes: 1, leases: 1},
	}
}

func decodeRows(e dialect) []legRow {
	const d = pd.RoleDecode
	hang, three := within(limit), stageConfig{prefills: 3, decodes: 3}
	strange := func(n int) stageConfig {
		c := stageConfig{args: map[int][]string{}}
		for i := range n {
			c.args[i] = []string{"--served-model-name", "another"}
		}
		return c
	}
	// A decode that fails before its first token costs a fresh handoff; nobody
	// fetched the first one's blocks.
	fresh := func(r legRow) legRow {
		r.at, r.path, r.prefills, r.decodes, r.leases = d, disaggregated, 2, 2, 1
		return r
	}
	// On /v1/responses a stream that was announced and dropped is a handoff that
	// failed: it costs a decode more, and a reset is one without a word.
	quiet, tried := e, 2
	if e.path == responsesPath {
		quiet.opening, tried = "", 3
	}
	return []legRow{
		{id: "decode-refuses", at: d, closed: 1, path: disaggregated, prefills: 1, decodes: 1},
		{id: "decode-all-refuse", at: d, closed: 2, code: 503, says: "no decode instance can be connected to", prefills: 1, leases: 1},
		fresh(legRow{id: "decode-resets-before", fault: instead(broken)}),
		fresh(legRow{id: "decode-resets-before-token", fault: hangsUp(quiet), stream: true}),
		{id: "decode-resets-always", at: d, every: true, fault: hangsUp(e), stage: stageConfig{decodes: 4}, stream: true, code: 502, says: "broke off", prefills: 2, decodes: tried, leases: 2},
		{id: "decode-resets-midstream", at: d, fault: streamed(e.early, breaks), stream: true, path: disaggregated,
			says: "broke off the answer", prefills: 1, decodes: 1},
		{id: "decode-ends-midstream", at: d, fault: streamed(e.early, ends), stream: true, path: disaggregated,
			says: "ended the stream without its last event", prefills: 1, decodes: 1},
		{id: "decode-resets-midjson", at: d, fault: after(half), path: disaggregated, prefills: 2, decodes: 2},
		{id: "decode-hangs-before-token", at: d, fault: hangs(e.begin), stage: hang, stream: true, path: disaggregated, prefills: 2, decodes: 2, leases: 1, cancelled: 1},
		{id: "decode-hangs-json", at: d, fault: hangs(nothing), stage: hang, path: disaggregated, prefills: 2, decodes: 2, leases: 1, cancelled: 1},
		{id: "decode-stalls", at: d, fault: streamed(e.early, stands), stage: hang, stream: true, path: disaggregated,
			says: "has sent nothing for 1s", prefills: 1, decodes: 1, cancelled: 1},
		{id: "decode-slow", at: d, fault: lateBy(100 * time.Millisecond), path: disaggregated, prefills: 1, decodes: 1},
		{id: "decode-400", at: d, tokens: 100000, code: 400, says: "max_tokens", prefills: 1, decodes: 1},
		fresh(legRow{id: "decode-401", fault: instead(e.status(401))}),
		fresh(legRow{id: "decode-403", fault: instead(e.status(403))}),
		{id: "decode-404", at: d, stage: strange(1), path: disaggregated, prefills: 2, decodes: 2},
		{id: "decode-all-404", at: d, stage: strange(2), code: 404, says: "does not exist", prefills: 2, decodes: 3},
		fresh(legRow{id: "decode-429", fault: instead(e.status(429))}),
		fresh(legRow{id: "decode-500", fault: instead(e.status(500))}),
		fresh(legRow{id: "decode-503", fault: instead(e.status(503))}),
		fresh(legRow{id: "decode-error-event", fault: instead(say("text/event-stream", e.opening+e.failed+e.end)), stream: true}),
		{id: "decode-error-midstream", at: d, fault: after(func(w http.ResponseWriter, answer string) {
			events := strings.SplitAfter(answer, "\n\n")
			_, _ = io.WriteString(w, strings.Join(events[:e.early], "")+e.failed+e.end)
		}), stream: true, path: disaggregated, says: "dead", prefills: 1, decodes: 1},
		fresh(legRow{id: "decode-empty-stream", fault: instead(say("text/event-stream", e.opening+e.empty)), stream: true}),
		fresh(legRow{id: "decode-empty-json", fault: instead(say("application/json", e.none))}),
		fresh(legRow{id: "decode-garbage", fault: instead(say("text/html", "<html>not here</html>"))}),
		{id: "decode-always-garbage", at: d, every: true, fault: instead(say("text/html", "<html>not here</html>")), code: 502, says: "is no JSON", prefills: 2, decodes: 3, leases: 2},
		fresh(legRow{id: "decode-abort", fault: instead(say("text/event-stream", e.opening+e.aborted)), stream: true}),
		{id: "decode-fails-always", at: d, every: true, stage: three, fault: onlyHandoffs(instead(e.status(500))), path: pd.PathLocal, reason: pd.ReasonHandoffFailed, prefills: 2, decodes: 3, leases: 2},
		{id: "decode-last-error", at: d, every: true, fault: instead(e.status(500)), code: 500, says: "engine says 500", prefills: 2, decodes: 3, leases: 2},
		{id: "side-channel-dead", at: pd.RolePrefill, fault: edited(`"remote_port":`, `"remote_port":1,"was":`), stage: stageConfig{change: unregistered},
			stream: true, path: disaggregated, prefills: 2, decodes: 2, leases: -1, cancelled: -1},
		{id: "side-channels-dead", at: pd.RolePrefill, every: true, fault: edited(`"remote_engine_id":"`, `"remote_engine_id":"x`), path: pd.PathLocal, reason: pd.ReasonHandoffFailed, prefills: 2, decodes: 3, leases: 2},
		{id: "lease-expired", at: d, stage: stageConfig{change: func(i *fleet.Instance) { i.Meta.KVLease = 1 }}, path: pd.PathLocal, reason: pd.ReasonHandoffFailed, prefills: 2, decodes: 1, leases: 2},
		{id: "prefill-restarts-between", at: pd.RolePrefill, fault: killsAfter, path: disaggregated, prefills: 2, decodes: 2, leases: -1, cancelled: -1},
	}
}

// unregistered is an instance whose side channel the router does not know.
func unregistered(i *fleet.Instance) { i.Meta.SideChannelPort = 0 }

// half of an answer, and then the connection is gone.
func half(w http.ResponseWriter, answer string) {
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	_, _ = io.WriteString(w, answer[:len(answer)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func html(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, "<html>not here</html>") }

// hangsUp begins a stream and is gone.
func hangsUp(e dialect) fault {
	return func(_ *stand, w http.ResponseWriter, _ *http.Request) bool {
		e.begin(w)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// begin announces a stream.
func (d dialect) begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, d.opening)
}

// onlyHandoffs leaves requests without params alone.
func onlyHandoffs(f fault) fault {
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		x.mu.Lock()
		handoff := strings.Contains(x.asked[len(x.asked)-1], "kv_transfer_params")
		x.mu.Unlock()
		return handoff && f(x, w, r)
	}
}

// killsAfter ends the instance once it has answered, as kill -9 would.
func killsAfter(x *stand, w http.ResponseWriter, r *http.Request) bool {
	return after(func(w http.ResponseWriter, answer string) {
		x.sim.Kill()
		_, _ = io.WriteString(w, answer)
	})(x, w, r)
}

func TestStage_isStrict(t *testing.T) {
	s := &suite{}
	t.Cleanup(s.close)
	g := s.stage(t, stageConfig{})
	for _, d := range dialects() {
		got := g.post(d.path, d.streamed(rowTokens))
		got.served(t, disaggregated, "")
		require.True(t, d.hear(t, got.body).whole, got.body)
	}
	s.allFreed(t)
}
