package router

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// hang says something and then nothing until the router gives up.
func hang(gone chan<- struct{}, say func(w http.ResponseWriter)) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request, _ map[string]json.RawMessage) bool {
		say(w)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- struct{}{}
		return true
	}
}

func TestDecodeHangs_anotherPairServes(t *testing.T) {
	const limit = 50 * time.Millisecond
	for name, c := range map[string]struct {
		body string
		say  func(w http.ResponseWriter)
	}{
		"stream, no head":  {`{"prompt":"x","stream":true}`, func(http.ResponseWriter) {}},
		"stream, no token": {`{"prompt":"x","stream":true}`, func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream"); w.WriteHeader(200) }},
		"json, no head":    {`{"prompt":"x"}`, func(http.ResponseWriter) {}},
		"json, half": {`{"prompt":"x"}`, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte(`{"choices"`))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, p, d := several(t, Config{FirstTokenTimeout: limit, AnswerTimeout: limit}, 2, 2)
			gone := make(chan struct{}, 1)
			for n := range d {
				d[n].onGenerate(onlyFirst(hang(gone, c.say), d))
			}
			r.post(cmplPath, c.body).served(t, pd.PathDisaggregated, "")
			wait(t, gone)
			require.Len(t, append(p[0].requests(), p[1].requests()...), 2, "a fresh handoff")
		})
	}
}

// onlyFirst does h at the first request that any of the engines gets.
func onlyFirst(h handler, of []*engine) handler {
	return func(n int, w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool {
		total := 0
		for _, e := range of {
			total += len(e.requests())
		}
		return total == 1 && h(n, w, r, body)
	}
}

func TestDecodeIsSlow_aStreamThatGoesOnIsNotStalled(t *testing.T) {
	const limit = 800 * time.Millisecond // a busy machine's pauses are no stall either
	r, _, d := several(t, Config{StallTimeout: limit}, 1, 1)
	d[0].onGenerate(func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(limit / 8)
		defer tick.Stop()
		for range 12 {
			event(w, `{"choices":[{"index":0,"text":"x","finish_reason":null}]}`)
			<-tick.C
		}
		event(w, "[DONE]")
		return true
	})
	got := r.post(cmplPath, `{"prompt":"x","stream":true}`)
	require.Equal(t, 12, strings.Count(got.body, `"text":"x"`), got.body)
	require.NotContains(t, got.body, "error")
}

func TestNoFallback_failsInsteadOfServingAlone(t *testing.T) {
	r, p, d := several(t, Config{NoFallback: true}, 1, 1)
	p[0].onGenerate(status(500))
	e := r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 503)
	require.Contains(t, e.Message, "could not be handed over (prefill_failed)")
	require.Empty(t, d[0].requests())

	r, _, d = several(t, Config{NoFallback: true}, 0, 1)
	require.Contains(t, r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 503).Message, "no_prefill_instance")
	require.Empty(t, d[0].requests())
	r.post(cmplPath, `{"prompt":"x","n":2}`).served(t, pd.PathLocal, pd.ReasonMultipleChoices)
}

func TestHandoffsThatFail_endOnADecodeAlone(t *testing.T) {
	r, p, d := several(t, Config{}, 3, 3)
	for n := range d {
		d[n].onGenerate(func(_ int, w http.ResponseWriter, _ *http.Request, body map[string]json.RawMessage) bool {
			if body["kv_transfer_params"] == nil {
				return false // it can compute by itself
			}
			http.Error(w, "no transfer", http.StatusInternalServerError)
			return true
		})
	}
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonHandoffFailed)
	seen := 0
	for n := range p {
		seen += len(p[n].requests())
	}
	require.Equal(t, maxHandoffs, seen)
}
