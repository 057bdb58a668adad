package apm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	sdkapm "github.com/hashicorp/nomad-autoscaler/plugins/apm"
	"github.com/hashicorp/nomad-autoscaler/plugins/base"
	"github.com/hashicorp/nomad-autoscaler/sdk"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/apm"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// finder answers a list that the test may change.
type finder struct {
	mu        sync.Mutex
	instances []*fleet.Instance
	err       error
	panics    bool
}

func (f *finder) Fetch(context.Context) (*fleet.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("boom")
	}
	return fleet.NewSnapshot(append([]*fleet.Instance(nil), f.instances...), time.Now()), f.err
}

func (f *finder) Address() string { return "consul.test:8500" }

// add registers the server as the group's next instance, or one that nobody
// listens for if it is nil.
func (f *finder) add(group string, engine *engine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	url := "http://127.0.0.1:1" // nothing listens there: refused at once
	if engine != nil {
		url = engine.URL
	}
	f.instances = append(f.instances, &fleet.Instance{
		ID: fmt.Sprintf("node/%s-%d", group, len(f.instances)), URL: url,
		Meta: pd.Meta{Job: "pd", Group: group, Namespace: "default"},
	})
}

// engine is an HTTP server with the metrics of an engine.
type engine struct {
	*httptest.Server
	body atomic.Pointer[string]
	code atomic.Int64
}

func newEngine(t *testing.T, waiting, running int, transfers string) *engine {
	e := &engine{}
	e.code.Store(http.StatusOK)
	e.set(waiting, running, transfers)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(int(e.code.Load()))
		_, _ = io.WriteString(w, *e.body.Load())
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *engine) set(waiting, running int, transfers string) {
	body := fmt.Sprintf("# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} %d.0\n"+
		"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\"} %d.0\n%s", running, waiting, transfers)
	e.body.Store(&body)
}

func xfer(seconds float64, count int) string {
	return fmt.Sprintf("# TYPE vllm:nixl_xfer_time_seconds histogram\nvllm:nixl_xfer_time_seconds_bucket{le=\"+Inf\"} %d\n"+
		"vllm:nixl_xfer_time_seconds_sum %g\nvllm:nixl_xfer_time_seconds_count %d\n", count, seconds, count)
}

// overGRPC serves the APM as the autoscaler's agent would see it.
func overGRPC(t *testing.T, f apm.Finder, config map[string]string) sdkapm.APM {
	impl := apm.NewWithFinder("nomad-autoscaler-vllm", hclog.NewNullLogger(), func(apm.Config) (apm.Finder, error) { return f, nil })
	client, _ := goplugin.TestPluginGRPCConn(t, false, map[string]goplugin.Plugin{
		sdk.PluginTypeAPM:  &sdkapm.PluginAPM{Impl: impl},
		sdk.PluginTypeBase: &base.PluginBase{Impl: impl},
	})
	t.Cleanup(func() { client.Close() }) // which tells the server to stop; stopping it here too would be a race
	raw, err := client.Dispense(sdk.PluginTypeAPM)
	require.NoError(t, err)
	a := raw.(sdkapm.APM)
	if config == nil {
		config = map[string]string{"scrape_timeout": "30s"} // a busy machine is not a silent instance
	}
	require.NoError(t, a.SetConfig(config))
	return a
}

func lastMinute() sdk.TimeRange {
	now := time.Now()
	return sdk.TimeRange{From: now.Add(-time.Minute), To: now}
}

// ask returns the newest point.
func ask(t *testing.T, a sdkapm.APM, query string) float64 {
	points, err := a.Query(query, lastMinute())
	require.NoError(t, err)
	require.NotEmpty(t, points)
	return points[len(points)-1].Value
}

func TestQuery_addsUpOneGroupAlone(t *testing.T) {
	f := &finder{}
	f.add("prefill", newEngine(t, 3, 1, ""))
	f.add("prefill", newEngine(t, 5, 2, ""))
	f.add("decode", newEngine(t, 100, 200, ""))
	a := overGRPC(t, f, nil)

	info, err := a.PluginInfo()
	require.NoError(t, err)
	require.Equal(t, &base.PluginInfo{Name: "nomad-autoscaler-vllm", PluginType: "apm"}, info)

	require.EqualValues(t, 8, ask(t, a, "queue_depth/prefill/pd"))
	require.EqualValues(t, 3, ask(t, a, "requests_running/prefill/pd@default"))
	require.EqualValues(t, 100, ask(t, a, "queue_depth/decode/pd"))
}

func TestQuery_anIdleGroupIsAPointOfZero(t *testing.T) {
	f := &finder{}
	f.add("decode", newEngine(t, 0, 0, xfer(0, 0)))
	a := overGRPC(t, f, nil)
	for _, metric := range []string{"queue_depth", "requests_running", "kv_transfer_latency"} {
		require.Zero(t, ask(t, a, metric+"/decode/pd"), metric)
	}
	multiple, err := a.QueryMultiple("queue_depth/decode/pd", lastMinute())
	require.NoError(t, err)
	require.Len(t, multiple, 1)
	require.NotEmpty(t, multiple[0])
}

func TestQuery_remembersTheWindow(t *testing.T) {
	f := &finder{}
	e := newEngine(t, 7, 0, "")
	f.add("prefill", e)
	a := overGRPC(t, f, nil)
	ask(t, a, "queue_depth/prefill/pd")
	e.set(2, 0, "")
	points, err := a.Query("queue_depth/prefill/pd", lastMinute())
	require.NoError(t, err)
	require.Len(t, points, 2)
	require.EqualValues(t, 7, points[0].Value)
	require.EqualValues(t, 2, points[1].Value)

	now := time.Now()
	points, err = a.Query("queue_depth/prefill/pd", sdk.TimeRange{From: now, To: now})
	require.NoError(t, err)
	require.Len(t, points, 1, "an instant query has no window")
}

func TestQuery_transferLatencyIsTheMeanOfWhatWasTransferred(t *testing.T) {
	f := &finder{}
	slow, fast := newEngine(t, 0, 0, xfer(100, 100)), newEngine(t, 0, 0, xfer(1, 100))
	f.add("decode", slow)
	f.add("decode", fast)
	a := overGRPC(t, f, nil)
	require.InDelta(t, 101.0/200, ask(t, a, "kv_transfer_latency/decode/pd"), 1e-9, "first sight: the average since the start")

	slow.set(0, 0, xfer(100.6, 102))
	fast.set(0, 0, xfer(1.2, 118))
	require.InDelta(t, 0.8/20, ask(t, a, "kv_transfer_latency/decode/pd"), 1e-9)

	fast.set(0, 0, xfer(0.3, 3)) // restarted in place
	require.InDelta(t, 1.1/23, ask(t, a, "kv_transfer_latency/decode/pd"), 1e-9)
}

func TestQuery_transferLatencyWithoutNIXLSaysSo(t *testing.T) {
	f := &finder{}
	f.add("decode", newEngine(t, 0, 0, ""))
	_, err := overGRPC(t, f, nil).Query("kv_transfer_latency/decode/pd", lastMinute())
	require.ErrorContains(t, err, "only the NIXL connector measures transfers")
}

func TestQuery_aSilentInstanceIsTakenToBeLikeTheOthers(t *testing.T) {
	f := &finder{}
	f.add("prefill", newEngine(t, 4, 0, ""))
	f.add("prefill", newEngine(t, 6, 0, ""))
	f.add("prefill", nil)
	require.EqualValues(t, 15, ask(t, overGRPC(t, f, nil), "queue_depth/prefill/pd"))
}

func TestQuery_failsWhenTooLittleIsKnown(t *testing.T) {
	broken := newEngine(t, 0, 0, "")
	broken.code.Store(http.StatusServiceUnavailable)
	huge := newEngine(t, 0, 0, "# "+strings.Repeat("x", 9<<20)+"\n")
	rude := &engine{Server: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))}
	t.Cleanup(rude.Close)
	for name, c := range map[string]struct {
		fill func(*finder)
		want []string
	}{
		"nobody registered": {func(*finder) {},
			[]string{`Consul service "vllm" at consul.test:8500: no instance of "prefill/pd@default", nor of any other group`}},
		"another group": {func(f *finder) { f.add("decode", nil) },
			[]string{`no instance of "prefill/pd@default", but there is "decode/pd@default"`}},
		"Consul away": {func(f *finder) { f.err = errors.New("connection refused") },
			[]string{`Consul service "vllm" at consul.test:8500: nothing listens there`}},
		"still loading": {func(f *finder) {
			f.add("prefill", nil)
			f.instances[0].Unusable = "check \"health\" is critical: connect: connection refused"
		},
			[]string{"none of the 1 instances", "nothing listens there"}},
		"cut off": {func(f *finder) { f.add("prefill", rude) },
			[]string{"1 of 1 usable instances did not answer", "end of stream"}},
		"all silent": {func(f *finder) { f.add("prefill", nil); f.add("prefill", nil) },
			[]string{"2 of 2 usable instances did not answer", "node/prefill-0", "node/prefill-1", "nothing listens there"}},
		"most silent": {func(f *finder) {
			f.add("prefill", newEngine(t, 1, 1, ""))
			f.add("prefill", nil)
			f.add("prefill", broken)
		},
			[]string{"2 of 3 usable instances did not answer", "503"}},
		"not an engine": {func(f *finder) { f.add("prefill", huge) },
			[]string{"more than 8388608 bytes; is this a vLLM server?"}},
		"a panic": {func(f *finder) { f.panics = true },
			[]string{"panicked: boom"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &finder{}
			c.fill(f)
			points, err := overGRPC(t, f, nil).Query("queue_depth/prefill/pd", lastMinute())
			require.Empty(t, points)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			// Either of these in an error makes the agent forget every policy it has.
			require.NotContains(t, err.Error(), "connection refused")
			require.NotContains(t, err.Error(), "EOF")
		})
	}
}

func TestQuery_doesNotWaitForAHangingInstance(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); hanging.Close() })
	f := &finder{}
	f.add("prefill", &engine{Server: hanging})
	_, err := overGRPC(t, f, map[string]string{"scrape_timeout": "50ms"}).Query("queue_depth/prefill/pd", lastMinute())
	require.ErrorContains(t, err, "1 of 1 usable instances did not answer")
	require.ErrorContains(t, err, "Timeout")
}

func TestQuery_refusesABadQuery(t *testing.T) {
	_, err := overGRPC(t, &finder{}, nil).Query("latency/prefill/pd", lastMinute())
	require.ErrorContains(t, err, `no metric "latency"`)
}

func TestQuery_beforeSetConfigIsAnError(t *testing.T) {
	_, err := apm.New("x", hclog.NewNullLogger()).Query("queue_depth/prefill/pd", lastMinute())
	require.ErrorContains(t, err, "before SetConfig")
}

func TestSetConfig_whileQueriesRun(t *testing.T) {
	f := &finder{}
	f.add("prefill", newEngine(t, 1, 1, ""))
	a := overGRPC(t, f, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				_, err := a.Query("queue_depth/prefill/pd", lastMinute())
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 5 {
				if err := a.SetConfig(map[string]string{"nomad_address": "http://127.0.0.1:4646"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
