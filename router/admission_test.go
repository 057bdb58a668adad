package router

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
)

func TestKeys_areRequiredAndStayHere(t *testing.T) {
	r, p, d := several(t, Config{Keys: []admit.Key{{Name: "team", SHA256: admit.Hash("s3cret")}}}, 1, 1)
	for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}} {
		e := r.post(cmplPath, `{"prompt":"x"}`, header...).apiError(t, 401)
		require.Equal(t, "UnauthorizedError", e.Type)
		require.Equal(t, 401, r.do(http.MethodGet, "/v1/models", "", header...).StatusCode)
	}
	require.Empty(t, p[0].requests())
	r.post(cmplPath, `{"prompt":"x"}`, "Authorization", "Bearer s3cret").served(t, pd.PathDisaggregated, "")
	require.Equal(t, 200, r.do(http.MethodGet, "/v1/models", "", "Authorization", "Bearer s3cret").StatusCode)
	require.Equal(t, 200, r.get("/health").StatusCode)
	for _, s := range append(p[0].requests(), d[0].requests()...) {
		require.Empty(t, s.header.Values("Authorization"), "the client's key is the router's business")
	}
	require.Contains(t, r.log.String(), "key=team")
	require.NotContains(t, r.log.String(), "s3cret")
}

func TestReload_changesKeysWithoutARestart(t *testing.T) {
	r, _, _ := several(t, Config{Keys: []admit.Key{{Name: "old", SHA256: admit.Hash("old")}}}, 1, 1)
	require.Error(t, r.server.Reload([]admit.Key{{Name: "bad", SHA256: "x"}}, admit.Limits{}))
	require.Equal(t, 200, r.post(cmplPath, `{"prompt":"x"}`, "Authorization", "Bearer old").StatusCode, "a mistake changes nothing")
	require.NoError(t, r.server.Reload([]admit.Key{{Name: "new", SHA256: admit.Hash("new")}}, admit.Limits{}))
	require.Equal(t, 401, r.post(cmplPath, `{"prompt":"x"}`, "Authorization", "Bearer old").StatusCode)
	require.Equal(t, 200, r.post(cmplPath, `{"prompt":"x"}`, "Authorization", "Bearer new").StatusCode)
}

// held is a decode that holds each answer until it is let go.
func held(d *engine) (arrived chan struct{}, letGo chan struct{}) {
	arrived, letGo = make(chan struct{}, 100), make(chan struct{})
	d.onGenerate(func(_ int, _ http.ResponseWriter, r *http.Request, _ map[string]json.RawMessage) bool {
		arrived <- struct{}{}
		select {
		case <-letGo:
		case <-r.Context().Done():
		}
		return false
	})
	return arrived, letGo
}

func TestQueue_tellsWhoIsSentAway(t *testing.T) {
	r, _, d := several(t, Config{Limits: admit.Limits{MaxRunning: 1, MaxWaiting: 1}}, 1, 1)
	arrived, letGo := held(d[0])
	answers := make(chan reply, 2)
	ask := func() { answers <- r.post(cmplPath, `{"prompt":"x"}`) }
	go ask()
	wait(t, arrived)
	go ask()
	require.Eventually(t, func() bool { return r.metric("pd_router_queue_requests", "state", "waiting") == 1 }, waitFor, tick)
	full := r.post(cmplPath, `{"prompt":"x"}`)
	require.Equal(t, "ServiceUnavailableError", full.apiError(t, 503).Type)
	require.NotEmpty(t, full.Header.Get("Retry-After"))
	require.Equal(t, 1.0, r.metric("pd_router_rejected_total", "reason", "queue_full"))
	close(letGo)
	for range 2 {
		require.Equal(t, 200, (<-answers).StatusCode)
	}
	require.Equal(t, 0.0, r.metric("pd_router_queue_requests", "state", "running"))
}

func TestPriority_isTheClientsAndUnderstood(t *testing.T) {
	r, _, _ := several(t, Config{}, 1, 1)
	require.Equal(t, 200, r.post(cmplPath, `{"prompt":"x"}`, pd.HeaderPriority, "high").StatusCode)
	require.Contains(t, r.post(cmplPath, `{"prompt":"x"}`, pd.HeaderPriority, "urgent").apiError(t, 400).Message, "want low, normal or high")
}

func TestScaleFromZero_requestWaitsForTheFirstInstance(t *testing.T) {
	world := newEngines(t)
	p, d := world.start(), world.start()
	r := newRigWith(t, Config{InstanceWait: waitFor})
	r.source.set()
	answer := make(chan reply, 1)
	go func() { answer <- r.post(cmplPath, `{"prompt":"x"}`) }()
	require.Eventually(t, func() bool { return r.metric("pd_router_waiting_for_instance", "model", "") == 1 }, waitFor, tick, "the signal to scale up by")
	r.source.set(inst("p", p.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode))
	(<-answer).served(t, pd.PathDisaggregated, "")
	require.Equal(t, 0.0, r.metric("pd_router_waiting_for_instance", "model", ""))

	r = newRigWith(t, Config{InstanceWait: 60 * time.Millisecond})
	r.source.set()
	require.Equal(t, 503, r.post(cmplPath, `{"prompt":"x"}`).StatusCode)
}

func TestWriteTimeout_isOfOneAnswerOnly(t *testing.T) {
	const limit = 50 * time.Millisecond
	r, _, _ := several(t, Config{WriteTimeout: limit}, 1, 1)
	for range 2 { // over one connection
		require.Equal(t, 200, r.post(cmplPath, `{"prompt":"x"}`).StatusCode)
		<-time.After(2 * limit)
	}
}
