package router

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// value is one line of /metrics, such as `x_sum{path="local"}`; -1 if absent.
func (r *rig) value(line string) float64 {
	r.t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(line) + ` (\S+)$`).FindStringSubmatch(r.get("/metrics").body)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	require.NoError(r.t, err)
	return v
}

// gated streams a word and then waits for leave to go on, so that each is read
// by itself.
func gated(next <-chan struct{}, words int) handler {
	return func(_ int, w http.ResponseWriter, q *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", "text/event-stream")
		for range words {
			event(w, `{"choices":[{"index":0,"text":"word","finish_reason":null}]}`)
			select {
			case <-next:
			case <-q.Context().Done():
				return true
			}
		}
		event(w, "[DONE]")
		return true
	}
}

// stream asks for one and calls f at each word; it reads to the end.
func (r *rig) stream(body string, f func(word int)) {
	r.t.Helper()
	client := http.Client{Timeout: 2 * waitFor}
	resp, err := client.Post(r.front.URL+cmplPath, "application/json", strings.NewReader(body))
	require.NoError(r.t, err)
	defer resp.Body.Close()
	words, lines := 0, bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "word") {
			words++
			f(words)
		}
	}
	require.NoError(r.t, lines.Err())
}

func TestInterToken_isTheTimeBetweenPieces(t *testing.T) {
	const pause = 60 * time.Millisecond
	for path, body := range map[pd.Path]string{
		pd.PathDisaggregated: `{"prompt":"x","stream":true}`,
		pd.PathLocal:         `{"prompt":"x","stream":true,"n":2}`,
	} {
		t.Run(string(path), func(t *testing.T) {
			r, _, d := pair(t)
			next := make(chan struct{})
			d.onGenerate(gated(next, 4))
			series := func(name, more string) float64 {
				return r.value(fmt.Sprintf("pd_router_inter_token_seconds_%s{path=%q%s}", name, path, more))
			}
			require.Equal(t, 0.0, series("count", ""), "there from the start")
			r.stream(body, func(word int) {
				if word == 3 {
					<-time.After(pause)
				}
				next <- struct{}{}
			})
			require.Equal(t, 4.0, series("count", ""), "four words and the end are five pieces")
			require.GreaterOrEqual(t, series("sum", ""), pause.Seconds())
			require.LessOrEqual(t, series("bucket", `,le="0.05"`), 3.0, "one gap was longer")
			require.Equal(t, 4.0, series("bucket", `,le="10"`))
			require.Equal(t, 4.0, sum(r.scraped(), "pd_router_inter_token_seconds"), "of this path only")
		})
	}
}

// A stream that lasts for an hour must not be missing from the metrics for one.
func TestInterToken_isSeenWhileAStreamLasts(t *testing.T) {
	r, _, d := several(t, Config{WriteTimeout: 400 * time.Millisecond}, 1, 1)
	next := make(chan struct{})
	d[0].onGenerate(gated(next, 3))
	r.stream(`{"prompt":"x","stream":true}`, func(word int) {
		if word == 3 {
			require.Equal(t, 2.0, r.metric("pd_router_inter_token_seconds", "path", "disaggregated"))
		}
		<-time.After(120 * time.Millisecond) // over a quarter of the write timeout
		next <- struct{}{}
	})
	require.Equal(t, 3.0, r.metric("pd_router_inter_token_seconds", "path", "disaggregated"), "none twice")
}

// Neither an answer that is no stream, in however many pieces, nor what is
// passed on: whether that has tokens is not known.
func TestInterToken_isOfTokens(t *testing.T) {
	r, _, d := pair(t)
	d.onGenerate(say("application/json", `{"choices":[{"text":"`+strings.Repeat("x", 2*maxHeld)+`"}]}`))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")

	lyrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			event(w, `{"choices":[{"delta":{"content":"la"}}]}`)
			<-time.After(10 * time.Millisecond)
		}
	}))
	defer lyrics.Close()
	r.source.set(inst("d", lyrics.URL, pd.RoleDecode))
	form, contentType := audio(t, "model", "m", "stream", "true")
	r.post("/v1/audio/transcriptions", form, "Content-Type", contentType).served(t, pd.PathLocal, pd.ReasonNotGenerative)
	require.Equal(t, 0.0, sum(r.scraped(), "pd_router_inter_token_seconds"))
}

func TestHandoff_isFromThePrefillsAnswerToTheFirstToken(t *testing.T) {
	const slow = 50 * time.Millisecond
	r, p, d := pair(t)
	sum := func(line string) time.Duration { return time.Duration(r.value(line) * float64(time.Second)) }
	p.onGenerate(func(int, http.ResponseWriter, *http.Request, map[string]json.RawMessage) bool {
		<-time.After(slow)
		return false
	})
	d.onGenerate(func(n int, w http.ResponseWriter, q *http.Request, body map[string]json.RawMessage) bool {
		<-time.After(slow)
		return n == 1 && status(500)(n, w, q, body)
	})
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonHandoffFailed) // the only prefill is to blame
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	r.post(cmplPath, `{"prompt":"x","stream":true,"n":2}`).served(t, pd.PathLocal, pd.ReasonMultipleChoices)
	require.Equal(t, 0.0, r.metric("pd_router_handoff_duration_seconds"), "what failed, whole answers and the local way have none")

	before := sum(`pd_router_leg_duration_seconds_sum{leg="prefill"}`)
	r.post(cmplPath, `{"prompt":"x","stream":true}`).served(t, pd.PathDisaggregated, "")
	require.Equal(t, 1.0, r.metric("pd_router_handoff_duration_seconds"))
	took, prefill := sum("pd_router_handoff_duration_seconds_sum"), sum(`pd_router_leg_duration_seconds_sum{leg="prefill"}`)-before
	require.GreaterOrEqual(t, took, slow)
	require.LessOrEqual(t, took+prefill, sum(`pd_router_time_to_first_token_seconds_sum{path="disaggregated"}`), "leg 1 is no part of it")
}
