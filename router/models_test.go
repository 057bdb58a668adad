package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

// The tests in this file run against simulators, which list, load and refuse
// models as vLLM does.

const sqlPath = "/adapters/sql"

func loraSim(t *testing.T, role pd.Role, args ...string) *sim.Instance {
	i, err := sim.Start(t.Context(), sim.Options{Model: "m", Role: role, RuntimeLoRA: true, Args: append([]string{"--enable-lora"}, args...)})
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

// lora loads or unloads an adapter at an instance.
func lora(t *testing.T, verb string, i *sim.Instance, name string) {
	t.Helper()
	resp, err := http.Post(i.URL()+"/v1/"+verb+"_lora_adapter", "application/json", strings.NewReader(fmt.Sprintf(`{"lora_name":%q,"lora_path":%q}`, name, sqlPath)))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

var loaded = []string{"--lora-modules", "sql=" + sqlPath}

func ask(model, salt string) string {
	return fmt.Sprintf(`{"model":%q,"prompt":%q,"temperature":0,"max_tokens":12}`, model, salt+strings.Repeat(" a prompt of some blocks", 30))
}

// serves waits until an instance is known to serve these names.
func (r *rig) serves(id string, names ...string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		i, _ := r.server.instance(id)
		got := r.server.currentTable().Names(i)
		return strings.Join(got, " ") == strings.Join(names, " ")
	}, waitFor, tick, "%s is known to serve %v", id, names)
}

func anyModel(i *fleet.Instance) { i.Meta.Model = "" }

func TestModels_anAdapterOfBothIsHandedOver(t *testing.T) {
	p, d, whole := loraSim(t, pd.RolePrefill, loaded...), loraSim(t, pd.RoleDecode, loaded...), loraSim(t, "", loaded...)
	for name, change := range map[string]func(*fleet.Instance){"pd_model": func(*fleet.Instance) {}, "fixed": anyModel} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inst("p", p.URL(), pd.RolePrefill, change), inst("d", d.URL(), pd.RoleDecode, change))
			r.serves("p", "m", "sql")
			r.serves("d", "m", "sql")
			alone := newRig(t, inst("whole", whole.URL(), pd.RoleDecode))
			alone.serves("whole", "m", "sql")
			texts := map[string]bool{}
			for _, model := range []string{"m", "sql"} {
				got, want := r.post(cmplPath, ask(model, name)), alone.post(cmplPath, ask(model, name))
				got.served(t, pd.PathDisaggregated, "")
				require.Equal(t, text(t, want.body), text(t, got.body), "no KV of another model's")
				texts[text(t, got.body)] = true
			}
			require.Len(t, texts, 2)
			got := r.post(cmplPath, `{"prompt":"without a model","max_tokens":3}`)
			got.served(t, pd.PathDisaggregated, "")
			require.Contains(t, got.body, `"model":"m"`)
			e := r.post(cmplPath, ask("nope", "")).apiError(t, http.StatusNotFound)
			require.Equal(t, "model", e.Param)
			require.Contains(t, e.Message, "Served: m, sql.")
		})
	}
}

func TestModels_anAdapterOfTheDecodeAloneIsServedThere(t *testing.T) {
	p, d := loraSim(t, pd.RolePrefill), loraSim(t, pd.RoleDecode, loaded...)
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	r.post(cmplPath, ask("sql", "")).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
	r.post(cmplPath, ask("m", "")).served(t, pd.PathDisaggregated, "")
}

func TestModels_anAdapterOfPrefillsAloneIsNotServed(t *testing.T) {
	p, d := loraSim(t, pd.RolePrefill, loaded...), loraSim(t, pd.RoleDecode)
	r := newRigWith(t, Config{InstanceWait: waitFor}, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	e := r.post(cmplPath, ask("sql", "")).apiError(t, http.StatusNotFound)
	require.Contains(t, e.Message, "only prefills list it (p)")
	require.NotContains(t, r.get("/v1/models").body, `"sql"`)
}

func TestModels_loadedAtRunTimeIsServedAtTheNextRequest(t *testing.T) {
	p, d := loraSim(t, pd.RolePrefill), loraSim(t, pd.RoleDecode)
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode))
	r.serves("p", "m")
	r.serves("d", "m")
	r.post(cmplPath, ask("sql", "")).apiError(t, http.StatusNotFound)
	lora(t, "load", p, "sql")
	lora(t, "load", d, "sql")
	r.post(cmplPath, ask("sql", "")).served(t, pd.PathDisaggregated, "")
	require.Contains(t, r.get("/v1/models").body, `"parent":"m"`)
}

func TestModels_unloadedAtOneIsServedByTheOther(t *testing.T) {
	p1, p2 := loraSim(t, pd.RolePrefill, loaded...), loraSim(t, pd.RolePrefill, loaded...)
	d1, d2 := loraSim(t, pd.RoleDecode, loaded...), loraSim(t, pd.RoleDecode, loaded...)
	r := newRig(t, inst("p1", p1.URL(), pd.RolePrefill), inst("p2", p2.URL(), pd.RolePrefill),
		inst("d1", d1.URL(), pd.RoleDecode), inst("d2", d2.URL(), pd.RoleDecode))
	for _, id := range []string{"p1", "p2", "d1", "d2"} {
		r.serves(id, "m", "sql")
	}
	lora(t, "unload", p1, "sql")
	lora(t, "unload", d1, "sql")
	for n := range 8 {
		r.post(cmplPath, ask("sql", fmt.Sprint(n))).served(t, pd.PathDisaggregated, "")
	}
	r.serves("p1", "m")
	r.serves("d1", "m")

	// Where no prefill has it any more, a decode that still has it serves it.
	lora(t, "unload", p2, "sql")
	r.post(cmplPath, ask("sql", "again")).served(t, pd.PathLocal, pd.ReasonPrefillFailed)
	lora(t, "unload", d2, "sql")
	e := r.post(cmplPath, ask("sql", "once more")).apiError(t, http.StatusNotFound)
	require.Contains(t, e.Message, "does not exist", "in vLLM's words, as long as the router does not know")
	r.serves("d2", "m")
	require.Contains(t, r.post(cmplPath, ask("sql", "")).apiError(t, http.StatusNotFound).Message, "Served: m.")
}

func TestModels_everyServedNameIsServed(t *testing.T) {
	p, d := loraSim(t, pd.RolePrefill, "--served-model-name", "a", "b"), loraSim(t, pd.RoleDecode, "--served-model-name", "b", "a", "c")
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill, anyModel), inst("d", d.URL(), pd.RoleDecode, anyModel))
	r.serves("p", "a", "b")
	r.serves("d", "a", "b", "c")
	r.post(cmplPath, ask("a", "1")).served(t, pd.PathDisaggregated, "")
	r.post(cmplPath, ask("b", "2")).served(t, pd.PathDisaggregated, "")
	r.post(cmplPath, ask("c", "3")).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
	r.post(cmplPath, ask("m", "4")).apiError(t, http.StatusNotFound)
}

func TestModels_mergedEachOnce(t *testing.T) {
	ds := []*sim.Instance{loraSim(t, pd.RoleDecode), loraSim(t, pd.RoleDecode, loaded...), loraSim(t, pd.RoleDecode, append(loaded, "poet=/p")...)}
	var all []*fleet.Instance
	for n, d := range ds {
		all = append(all, inst(fmt.Sprint("d", n), d.URL(), pd.RoleDecode))
	}
	r := newRig(t, all...)
	r.serves("d2", "m", "poet", "sql")
	var list struct{ Data []modelCard }
	require.NoError(t, json.Unmarshal([]byte(r.get("/v1/models").body), &list))
	var ids []string
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	require.Equal(t, []string{"m", "poet", "sql"}, ids)

	var st Status
	require.NoError(t, json.Unmarshal([]byte(r.admin("GET", "/status").body), &st))
	require.Equal(t, []string{"m", "poet", "sql"}, st.Instances[2].Serves)
	require.Equal(t, []string{"m"}, st.Models)
	require.NotContains(t, r.get("/ready").body, "poet", "who has no key is not told adapters' names")
	require.NotContains(t, r.get("/metrics").body, "poet")
}

// Who has a client's key only asks with it each time that a client does.
func TestModels_instancesThatWantClientsKeysAreListedToThem(t *testing.T) {
	var all []*fleet.Instance
	for _, name := range []string{"a", "b"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, `{"data":[{"id":%q}]}`, name)
		}))
		t.Cleanup(s.Close)
		all = append(all, inst(name, s.URL, pd.RoleDecode, anyModel))
	}
	r := newRig(t, all...)
	require.Eventually(t, func() bool { return strings.Count(r.log.String(), "set -upstream-api-key") == 2 }, waitFor, tick)
	got := r.do(http.MethodGet, "/v1/models", "", "Authorization", "Bearer client").body
	require.Contains(t, got, `"id":"a"`)
	require.Contains(t, got, `"id":"b"`)
}

// lister is an instance that counts who asks for its models.
type lister struct {
	url   string
	asked atomic.Int64
	key   atomic.Pointer[string] // of the last question
	slow  atomic.Int64           // to answer it
}

func newLister(t *testing.T, code int, names ...string) *lister {
	l := &lister{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			l.asked.Add(1)
			key := r.Header.Get("Authorization")
			l.key.Store(&key)
			<-time.After(time.Duration(l.slow.Load()))
			w.WriteHeader(code)
			var cards []string
			for _, name := range names {
				cards = append(cards, fmt.Sprintf(`{"id":%q,"parent":null}`, name))
			}
			fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(cards, ","))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"choices":[{"text":"a"}]}`)
	}))
	t.Cleanup(s.Close)
	l.url = s.URL
	return l
}

func TestModels_anInstanceThatDoesNotListServesWhatItIsRegisteredFor(t *testing.T) {
	for name, l := range map[string]*lister{
		"401": newLister(t, 401), "404": newLister(t, 404), "no list": newLister(t, 200), "too long": newLister(t, 200, strings.Repeat("x", maxModelsAnswer)),
		"one long name": newLister(t, 200, strings.Repeat("x", maxNameLength+1)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inst("registered", l.url, pd.RoleDecode))
			require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "does not list its models") }, waitFor, tick)
			require.Equal(t, 200, r.post(cmplPath, ask("m", "")).StatusCode)
			r.post(cmplPath, ask("sql", "")).apiError(t, http.StatusNotFound)
			require.Equal(t, 1, strings.Count(r.log.String(), "does not list its models"), "once")
			fixed := newRig(t, inst("fixed", l.url, pd.RoleDecode, anyModel))
			require.Equal(t, 200, fixed.post(cmplPath, ask("sql", "")).StatusCode, "of which nothing is known serves any")
		})
	}
}

func TestModels_theQuestionCarriesTheRoutersKeyAndNoClients(t *testing.T) {
	l := newLister(t, 200, "m")
	r := newRigWith(t, Config{UpstreamAPIKey: NewSecret("upstream")}, inst("d", l.url, pd.RoleDecode))
	r.serves("d", "m")
	require.Eventually(t, func() bool { return l.key.Load() != nil }, waitFor, tick)
	require.Equal(t, "Bearer upstream", *l.key.Load())
	l = newLister(t, 200, "m", "n")
	r = newRig(t, inst("d", l.url, pd.RoleDecode))
	r.serves("d", "m", "n")
	require.Equal(t, 404, r.post(cmplPath, ask("nope", ""), "Authorization", "Bearer client").StatusCode)
	require.Empty(t, *l.key.Load())
}

func TestModels_namesOfOneInstanceAreBounded(t *testing.T) {
	var many []string
	for n := range 2 * maxNames {
		many = append(many, fmt.Sprint("a", n))
	}
	l := newLister(t, 200, many...)
	r := newRig(t, inst("d", l.url, pd.RoleDecode))
	require.Eventually(t, func() bool { return len(r.server.currentTable().Models()) > 1 }, waitFor, tick)
	require.Len(t, r.server.currentTable().Models(), maxNames+1)
	e := r.post(cmplPath, ask("nope", "")).apiError(t, http.StatusNotFound)
	require.Contains(t, e.Message, "and 1005 more")
	require.Less(t, len(e.Message), 1000)
}

func TestModels_knownOnesCostNoQuestionAndUnknownOnesFew(t *testing.T) {
	l := newLister(t, 200, "m", "sql")
	r := newRig(t, inst("d", l.url, pd.RoleDecode))
	r.serves("d", "m", "sql")
	for range 50 {
		require.Equal(t, 200, r.post(cmplPath, ask("sql", "")).StatusCode)
	}
	require.Equal(t, int64(1), l.asked.Load())
	began := time.Now()
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if code := r.post(cmplPath, ask(fmt.Sprint("flood-", n), "")).StatusCode; code != http.StatusNotFound {
				t.Errorf("answered %d", code)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, l.asked.Load(), 3+int64(time.Since(began)/time.Second))
	require.Equal(t, -1.0, r.metric("pd_router_waiting_for_instance", "model", "flood-1"))
}

func TestModels_anAdapterWaitsForItsGroup(t *testing.T) {
	p, d := loraSim(t, pd.RolePrefill, loaded...), loraSim(t, pd.RoleDecode, loaded...)
	prefill, decode := inst("p", p.URL(), pd.RolePrefill), inst("d", d.URL(), pd.RoleDecode)
	out := *decode
	out.Unusable = "critical"
	answer := make(chan reply, 1)
	for name, away := range map[string][]*fleet.Instance{"out": {&out}, "scaled to zero": {prefill}} {
		for _, model := range []string{"m", "sql"} {
			t.Run(name+", "+model, func(t *testing.T) {
				r := newRigWith(t, Config{InstanceWait: waitFor}, prefill, decode)
				r.serves("p", "m", "sql")
				r.serves("d", "m", "sql")
				r.source.set(away...)
				go func() { answer <- r.post(cmplPath, ask(model, "")) }()
				require.Eventually(t, func() bool { return r.metric("pd_router_waiting_for_instance", "model", "m") == 1 }, waitFor, tick,
					"the label is what its instances are registered for")
				r.source.set(prefill, decode)
				require.Equal(t, 200, (<-answer).StatusCode)
			})
		}
	}
}

func TestModels_theFirstInstanceIsHeardBeforeItIsRefused(t *testing.T) {
	l := newLister(t, 200, "m", "sql")
	l.slow.Store(int64(4 * lookAgain))
	r := newRigWith(t, Config{InstanceWait: waitFor})
	r.source.set()
	answer := make(chan reply, 1)
	go func() { answer <- r.post(cmplPath, ask("sql", "")) }()
	require.Eventually(t, func() bool { return r.metric("pd_router_waiting_for_instance", "model", "") == 1 }, waitFor, tick)
	r.source.set(inst("d", l.url, pd.RoleDecode))
	require.Equal(t, 200, (<-answer).StatusCode)
}

func TestModels_aRestartedInstanceServesWhatItListsNow(t *testing.T) {
	old, again := newLister(t, 200, "m", "sql"), newLister(t, 200, "m", "poet")
	r := newRig(t, inst("d", old.url, pd.RoleDecode))
	r.serves("d", "m", "sql")
	r.source.set(inst("d", again.url, pd.RoleDecode))
	r.serves("d", "m", "poet")
	require.Equal(t, 404, r.post(cmplPath, ask("sql", "")).StatusCode)
}

// An engine that starts anew behind the same address tells by its handoffs.
func TestModels_anotherEngineIsAskedAnew(t *testing.T) {
	world := newEngines(t)
	p, d := world.start(), world.start()
	names := atomic.Pointer[string]{}
	list := func(s string) { names.Store(&s) }
	list(`{"data":[{"id":"m"},{"id":"sql","parent":"m"}]}`)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			fmt.Fprint(w, *names.Load())
			return
		}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	r := newRig(t, inst("p", front.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode))
	r.serves("p", "m", "sql")
	r.post(cmplPath, `{"model":"m","prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	list(`{"data":[{"id":"m"}]}`)
	front.CloseClientConnections()
	p.onGenerate(give(map[string]string{"remote_engine_id": `"another"`}))
	d.onGenerate(say("application/json", `{"choices":[{"text":"a"}]}`))
	r.post(cmplPath, `{"model":"m","prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	r.serves("p", "m")
}

func TestRun_leavesNoGoroutine(t *testing.T) {
	l := newLister(t, 200, "m")
	before := runtime.NumGoroutine()
	t.Run("a router's life", func(t *testing.T) {
		r := newRig(t, inst("d", l.url, pd.RoleDecode))
		r.serves("d", "m")
		require.Equal(t, 404, r.post(cmplPath, ask("nope", "")).StatusCode)
		http.DefaultClient.CloseIdleConnections()
	})
	// One more is the goroutine that asks.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, waitFor, tick)
}

// An idle connection to each instance would be a descriptor for nothing.
func TestModels_theQuestionKeepsNoConnection(t *testing.T) {
	closed := make(chan struct{}, 10)
	engine := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"m"}]}`)
	}))
	engine.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	engine.Start()
	t.Cleanup(engine.Close)
	r := newRig(t, inst("x", engine.URL, pd.RoleDecode))
	require.Contains(t, r.get("/v1/models").body, `"id":"m"`)
	select {
	case <-closed:
	case <-time.After(2 * time.Second): // an idle one is kept for 4 s
		t.Fatal("the connection is still open")
	}
}
