package router

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

func unusable(reason string) func(*fleet.Instance) {
	return func(i *fleet.Instance) { i.Unusable = reason }
}

func compat(c string) func(*fleet.Instance) { return func(i *fleet.Instance) { i.Meta.Compat = c } }

func serves(model string) func(*fleet.Instance) {
	return func(i *fleet.Instance) { i.Meta.Model = model }
}

func TestNoInstance_saysWhatIsMissing(t *testing.T) {
	r := newRig(t)
	refused := errors.New("consul: connection refused")
	r.source.err.Store(&refused)
	got := r.post(chatPath, `{"model":"m"}`)
	require.Equal(t, "2", got.Header.Get("Retry-After"))
	require.Contains(t, got.apiError(t, 503).Message, "consul: connection refused")
	r.get("/v1/models").apiError(t, 503)

	r.source.set()
	require.Contains(t, r.post(chatPath, `{"model":"m"}`).apiError(t, 503).Message, `model "m" now: the decode pool is empty and so is the prefill pool`)

	r.source.set(inst("p", "http://127.0.0.1:1", pd.RolePrefill), inst("n1/d", "http://127.0.0.1:1", pd.RoleDecode, unusable(`check "health" is critical`)))
	got = r.post(chatPath, `{"model":"m"}`)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	msg := got.apiError(t, 503).Message
	for _, want := range []string{`"m"`, "decode pool is empty", "1 prefill usable", `n1/d (decode): check "health" is critical`} {
		require.Contains(t, msg, want)
	}
	require.Equal(t, 3.0, r.metric("pd_router_requests_total", "path", "", "code", "503"))
}

func TestModels_areRoutedByName(t *testing.T) {
	world := newEngines(t)
	pa, da, db := world.start(), world.start(), world.start()
	r := newRig(t, inst("pa", pa.URL, pd.RolePrefill, serves("a")), inst("da", da.URL, pd.RoleDecode, serves("a")),
		inst("db", db.URL, pd.RoleDecode, serves("b")))
	require.Equal(t, "da", r.post(cmplPath, `{"model":"a","prompt":"x"}`).Header.Get(pd.HeaderDecode))
	got := r.post(cmplPath, `{"model":"b","prompt":"x"}`)
	got.served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
	require.Equal(t, "db", got.Header.Get(pd.HeaderDecode))
	require.Equal(t, "db", r.post(cmplPath, `{"model":"a","prompt":"x","m\u006fdel":"b"}`).Header.Get(pd.HeaderDecode), "the last of several counts, as in Python")

	e := r.post(cmplPath, `{"model":"nope","prompt":"x"}`).apiError(t, 404)
	require.Equal(t, "NotFoundError", e.Type)
	require.Equal(t, "model", e.Param)
	require.Contains(t, e.Message, `"nope"`)
	require.Contains(t, e.Message, "a, b")
	require.Contains(t, r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 400).Message, "a, b")
}

func TestModels_oneModelNeedsNoName(t *testing.T) {
	r, _, _ := pair(t)
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	r.post(cmplPath, `{"prompt":"x","model":null}`).served(t, pd.PathDisaggregated, "")
}

func TestModels_listIsMerged(t *testing.T) {
	world := newEngines(t)
	d1, d2 := world.start(), world.start()
	r := newRig(t, inst("d1", d1.URL, pd.RoleDecode, serves("")), inst("d2", d2.URL, pd.RoleDecode, serves("")),
		inst("gone", refused(t), pd.RoleDecode, serves("")), inst("p", "http://127.0.0.1:1", pd.RolePrefill))
	var got struct {
		Object string
		Data   []struct{ ID, Root string }
	}
	require.NoError(t, json.Unmarshal([]byte(r.get("/v1/models").body), &got))
	require.Equal(t, "list", got.Object)
	require.Len(t, got.Data, 1)
	require.Equal(t, "m", got.Data[0].ID)
	require.NotEmpty(t, got.Data[0].Root, "the instance's own fields are kept")

	r.source.set()
	require.JSONEq(t, `{"object":"list","data":[]}`, r.get("/v1/models").body)
	r.source.set(inst("gone", refused(t), pd.RoleDecode))
	r.get("/v1/models").apiError(t, 503)
}

func TestPairing_onlyWithinEqualCompat(t *testing.T) {
	world := newEngines(t)
	p1, d1, d2 := world.start(), world.start(), world.start()
	r := newRig(t, inst("p1", p1.URL, pd.RolePrefill, compat("v1")), inst("d1", d1.URL, pd.RoleDecode, compat("v1")), inst("d2", d2.URL, pd.RoleDecode, compat("v2")))
	for range 10 {
		got := r.post(cmplPath, `{"prompt":"x"}`)
		got.served(t, pd.PathDisaggregated, "")
		require.Equal(t, "d1", got.Header.Get(pd.HeaderDecode))
	}
	r.source.set(inst("p1", p1.URL, pd.RolePrefill, compat("v1")), inst("d2", d2.URL, pd.RoleDecode, compat("v2")))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
}

func TestPairing_bothRolesButNeverWithItself(t *testing.T) {
	world := newEngines(t)
	a, b := world.start(), world.start()
	r := newRig(t, inst("a", a.URL, pd.RoleBoth))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
	r.source.set(inst("a", a.URL, pd.RoleBoth), inst("b", b.URL, pd.RoleBoth))
	for range 10 {
		got := r.post(cmplPath, `{"prompt":"x"}`)
		got.served(t, pd.PathDisaggregated, "")
		require.NotEqual(t, got.Header.Get(pd.HeaderPrefill), got.Header.Get(pd.HeaderDecode))
	}
}

func TestPairing_unusableInstancesGetNothing(t *testing.T) {
	world := newEngines(t)
	p1, p2, d := world.start(), world.start(), world.start()
	r := newRig(t, inst("p1", p1.URL, pd.RolePrefill, unusable("in maintenance")), inst("p2", p2.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode))
	for range 10 {
		r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	}
	require.Empty(t, p1.requests())
}

func TestLoad_goesToTheIdleInstance(t *testing.T) {
	world := newEngines(t)
	p, d1, d2 := world.start(), world.start(), world.start()
	// Room for the tries that the end of the test sets off, when it closes one engine after another.
	busy, release := make(chan string, 8), make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, d := range []*engine{d1, d2} {
		d.onGenerate(func(_ int, _ http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool {
			if !strings.Contains(prompt(body), "slow") {
				return false
			}
			busy <- d.id
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return true
		})
	}
	r := newRig(t, inst("p", p.URL, pd.RolePrefill), inst(d1.id, d1.URL, pd.RoleDecode), inst(d2.id, d2.URL, pd.RoleDecode))
	go func() {
		resp, err := http.Post(r.front.URL+cmplPath, "application/json", strings.NewReader(`{"prompt":"slow"}`))
		if err == nil {
			resp.Body.Close()
		}
	}()
	var slow string
	select {
	case slow = <-busy:
	case <-time.After(waitFor):
		t.Fatal("the slow request did not arrive")
	}
	for range 10 {
		require.NotEqual(t, slow, r.post(cmplPath, `{"prompt":"x"}`).Header.Get(pd.HeaderDecode))
	}
	require.Equal(t, 1.0, r.metric("pd_router_instance_in_flight", "instance", slow, "leg", "decode"))
	require.Equal(t, 1.0, r.metric("pd_router_requests_in_flight"))
}

func TestStream_eachTokenIsPassedOnAtOnce(t *testing.T) {
	r, _, d := pair(t)
	next := make(chan struct{})
	d.onGenerate(func(_ int, w http.ResponseWriter, q *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", "text/event-stream")
		event(w, `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
		for _, word := range []string{"one", "two", "three"} {
			event(w, `{"choices":[{"index":0,"delta":{"content":"`+word+`"},"finish_reason":null}]}`)
			select {
			case <-next: // the next token comes only after the client has this one
			case <-q.Context().Done():
				return true
			}
		}
		event(w, "[DONE]")
		return true
	})
	client := http.Client{Timeout: waitFor}
	resp, err := client.Post(r.front.URL+chatPath, "application/json", strings.NewReader(`{"messages":[],"stream":true}`))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	require.NotEqual(t, "not-ours", resp.Header.Get(pd.HeaderRequestID))
	lines := bufio.NewScanner(resp.Body)
	for _, word := range []string{"one", "two", "three"} {
		for lines.Scan() && !strings.Contains(lines.Text(), word) {
		}
		require.Contains(t, lines.Text(), word)
		next <- struct{}{}
	}
}

func TestReady_saysWhatCanBeServed(t *testing.T) {
	r := newRig(t)
	ready := func(code int) Status {
		got := r.get("/ready")
		require.Equal(t, code, got.StatusCode, got.body)
		var s Status
		require.NoError(t, json.Unmarshal([]byte(got.body), &s))
		require.Equal(t, code == 200, s.Ready)
		return s
	}
	require.Equal(t, "", r.get("/health").body)
	require.Equal(t, 200, r.get("/health").StatusCode, "health is the process's alone")
	require.Equal(t, -1.0, ready(503).SnapshotAgeSeconds)
	require.Equal(t, -1.0, r.metric("pd_router_snapshot_age_seconds"))

	url := "http://127.0.0.1:1"
	r.source.set(inst("p", url, pd.RolePrefill))
	require.Contains(t, ready(503).Message, "no decode instance is usable")
	r.source.set(inst("d", url, pd.RoleDecode))
	require.Contains(t, ready(200).Message, "serving locally: no prefill instance is usable")
	r.source.set(inst("p", url, pd.RolePrefill, compat("1")), inst("d", url, pd.RoleDecode))
	require.Contains(t, ready(200).Message, "pd_compat")
	r.source.set(inst("p", url, pd.RolePrefill), inst("d", url, pd.RoleDecode))
	s := ready(200)
	require.True(t, s.Disaggregated)
	require.GreaterOrEqual(t, r.metric("pd_router_snapshot_age_seconds"), 0.0)
	r.server.Drain()
	require.Contains(t, ready(503).Message, "draining")
}

func TestStatus_showsEveryInstance(t *testing.T) {
	r := newRig(t, inst("p", "http://127.0.0.1:1", pd.RolePrefill), inst("d<x>", "http://127.0.0.1:2", pd.RoleDecode, unusable("check & critical")))
	var s Status
	require.NoError(t, json.Unmarshal([]byte(r.admin(http.MethodGet, "/status").body), &s))
	require.Equal(t, 404, r.get("/status").StatusCode, "not for the public")
	require.Len(t, s.Instances, 2)
	require.Equal(t, "check & critical", s.Instances[0].Reason)
	require.True(t, s.Instances[1].Usable)
	require.Equal(t, 1.0, r.metric("pd_router_instances", "role", "decode", "usable", "false"))
	require.Equal(t, 0.0, r.metric("pd_router_instances", "role", "decode", "usable", "true"))
	require.Equal(t, 1.0, r.metric("pd_router_instances", "role", "prefill", "usable", "true"))

	r.source.set(inst("p", "http://127.0.0.1:1", pd.RolePrefill))
	require.Equal(t, -1.0, r.metric("pd_router_instance_in_flight", "instance", "d<x>"), "an instance that is gone leaves no series")
}

func TestMetrics_everyReasonIsThereFromTheStart(t *testing.T) {
	r := newRig(t)
	for _, reason := range pd.Reasons() {
		require.Equal(t, 0.0, r.metric("pd_router_requests_total", "path", "local", "reason", string(reason), "code", "200"), reason)
	}
}

func TestConfig_reportsEveryProblem(t *testing.T) {
	err := (&Config{MaxBody: 1, PrefillTries: -1, PrefillTimeout: 1, DialTimeout: -1}).Validate()
	for _, want := range []string{"request body is 1", "prefill tries is -1", "prefill timeout", "dial timeout"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, (&Config{}).Validate())
}
