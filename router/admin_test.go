package router

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func (r *rig) status() Status {
	r.t.Helper()
	var s Status
	require.NoError(r.t, json.Unmarshal([]byte(r.admin(http.MethodGet, "/status").body), &s))
	return s
}

func (s Status) instance(id string) InstanceStatus {
	for _, i := range s.Instances {
		if i.ID == id {
			return i
		}
	}
	return InstanceStatus{}
}

func TestDrain_takesAnInstanceOutAndBack(t *testing.T) {
	r, p, _ := several(t, Config{}, 2, 1)
	answer := r.admin(http.MethodPost, "/instances/drain?id=p0")
	require.Equal(t, 200, answer.StatusCode, answer.body)
	require.Contains(t, answer.body, drainedReason)
	for range 10 {
		r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	}
	require.Empty(t, p[0].requests())
	require.False(t, r.status().instance("p0").Usable)
	r.admin(http.MethodPost, "/instances/drain?id=p1")
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
	r.source.set(r.source.Snapshot().Instances...) // a later snapshot changes nothing of it
	require.False(t, r.status().instance("p0").Usable)
	require.Equal(t, 200, r.admin(http.MethodPost, "/instances/undrain?id=p0").StatusCode)
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	require.Len(t, p[0].requests(), 1)
}

func TestWeight_sharesRequests(t *testing.T) {
	r, _, _ := several(t, Config{}, 0, 2)
	require.Equal(t, 200, r.admin(http.MethodPost, "/instances/weight?id=d0&weight=0.1").StatusCode)
	require.InDelta(t, 0.1, r.status().instance("d0").Weight, 1e-9)
	for range 10 {
		require.Equal(t, "d1", r.post(cmplPath, `{"prompt":"x"}`).Header.Get(pd.HeaderDecode))
	}
}

func TestAdmin_saysWhatIsWrong(t *testing.T) {
	r, _, _ := several(t, Config{}, 1, 1)
	e := r.admin(http.MethodPost, "/instances/drain?id=nobody").apiError(t, 404)
	require.Equal(t, `there is no instance "nobody"; there are: d0, p0`, e.Message)
	for _, w := range []string{"", "x", "0", "-1", "NaN", "1e9"} {
		e = r.admin(http.MethodPost, "/instances/weight?id=p0&weight="+url.QueryEscape(w)).apiError(t, 400)
		require.Contains(t, e.Message, "want a number from 0.01 to 100")
	}
	require.Equal(t, 404, r.admin(http.MethodGet, "/instances/drain?id=p0").StatusCode)
	require.Equal(t, 403, r.admin(http.MethodPost, "/instances/drain?id=p0", "Sec-Fetch-Site", "cross-site").StatusCode, "another site's page")
	require.True(t, r.status().instance("p0").Usable)
}

func TestStatus_tellsFlowsAndLocalReasons(t *testing.T) {
	r, _, _ := several(t, Config{}, 1, 1)
	for range 3 {
		r.post(cmplPath, `{"prompt":"x"}`)
	}
	for range localKept + 5 {
		r.post(cmplPath, `{"prompt":"x","n":2}`, pd.HeaderRequestID, "mine")
	}
	s := r.status()
	require.ElementsMatch(t, []Flow{{Prefill: "p0", Decode: "d0", Count: 3}, {Decode: "d0", Count: localKept + 5}}, s.Flows)
	require.Len(t, s.Locals, localKept)
	require.Equal(t, pd.ReasonMultipleChoices, s.Locals[0].Reason)
	require.Equal(t, "mine", s.Locals[0].RequestID)
}

func TestAdmin_servesThePageAndProfiles(t *testing.T) {
	r, _, _ := several(t, Config{}, 1, 1)
	for path, kind := range map[string]string{"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css", "/metrics": "text/plain", "/debug/pprof/": "text/html"} {
		got := r.admin(http.MethodGet, path)
		require.Equal(t, 200, got.StatusCode, path)
		require.True(t, strings.HasPrefix(got.Header.Get("Content-Type"), kind), "%s: %s", path, got.Header.Get("Content-Type"))
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "default-src 'self'")
	}
	require.Equal(t, 404, r.get("/debug/pprof/").StatusCode)
	require.Equal(t, 404, r.post("/instances/drain?id=p0", "").StatusCode)
}
