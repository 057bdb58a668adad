package vllm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// fleetOf is a router before two prefills and two decodes. The first prefill
// stands behind a proxy that can change what it hands over.
type fleetOf struct {
	p, d   [2]*server
	router *server
	stand  *httptest.Server
	spoil  atomic.Pointer[func(answer string) string]
	passed atomic.Int32 // answers that were spoiled
}

func startFleet(t *testing.T, p, d [2]*server) *fleetOf {
	t.Helper()
	f := &fleetOf{p: p, d: d}
	base, err := url.Parse(p[0].url)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(base)
	proxy.ModifyResponse = func(r *http.Response) error {
		spoil := f.spoil.Load()
		if spoil == nil || r.Request.Method != http.MethodPost {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		f.passed.Add(1)
		text := (*spoil)(string(b))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", fmt.Sprint(len(text)))
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	f.stand = httptest.NewServer(proxy)
	t.Cleanup(func() { f.stand.CloseClientConnections(); f.stand.Close() })

	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	f.router = &server{
		name: "router", url: "http://" + addr, log: filepath.Join(t.TempDir(), "router.log"),
		cmd: exec.Command(buildCommand(t, "cmd/pd-router"), "-listen", addr, "-admin", "", "-prefill", f.stand.URL, p[1].url, "-decode", d[0].url, d[1].url,
			"-local-below", "0", "-prefill-policy", "round_robin", "-instance-wait", "0s"),
	}
	f.router.start(t)
	f.router.waitHealthy(t, 20*time.Second)
	return f
}

// ask sends one completion of a prompt of its own through the router.
func (f *fleetOf) ask(more body) answer {
	s := newSession(f.p[1].url, f.router.url, "table", newSalt())
	s.client.Timeout = time.Minute
	return s.decode(completionPath, s.completion(more))
}

// served asks until the first prefill's answer was spoiled and returns the
// answer to that request, which the client must not have noticed.
func (f *fleetOf) served(t *testing.T, spoil func(string) string) {
	t.Helper()
	f.passed.Store(0)
	f.spoil.Store(&spoil)
	defer f.spoil.Store(nil)
	for range 4 {
		a := f.ask(nil)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, string(pd.PathDisaggregated), a.Header.Get(pd.HeaderPath), "reason %q", a.Header.Get(pd.HeaderReason))
		require.NotEmpty(t, textOf(a))
		if f.passed.Load() > 0 {
			require.Equal(t, f.p[1].url, a.Header.Get(pd.HeaderPrefill), "the other prefill served it")
			return
		}
	}
	t.Fatal("the first prefill was never asked")
}

// stream begins a long answer and returns it after its first token.
func (f *fleetOf) stream(t *testing.T) (on *server, rest *bufio.Reader, leave context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := newSession("", "", "table stream", newSalt())
	b := fmt.Sprintf(`{"model":%q,"prompt":%q,"max_tokens":1500,"ignore_eos":true,"stream":true}`, model, s.salt+strings.Repeat(" one fish", 30))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.router.url+completionPath, strings.NewReader(b))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, string(pd.PathDisaggregated), resp.Header.Get(pd.HeaderPath))
	rest = bufio.NewReader(resp.Body)
	line, err := rest.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"text"`)
	for _, d := range f.d {
		if d.url == resp.Header.Get(pd.HeaderDecode) {
			on = d
		}
	}
	require.NotNil(t, on)
	return on, rest, cancel
}

// told is that a stream which broke off says so, and ends.
func told(t *testing.T, rest *bufio.Reader) {
	t.Helper()
	b, err := io.ReadAll(rest)
	require.NoError(t, err)
	require.Contains(t, string(b), `data: {"error"`)
	require.True(t, strings.HasSuffix(string(b), "data: [DONE]\n\n"), "...%s", b[max(0, len(b)-300):])
}

// counted is the sum of a router's counter over the series with that label.
func (f *fleetOf) counted(name, label string) float64 { return metric(f.router.url, name, label) }

// checkTable plays the rows of docs/failures.md that a real engine can play.
// The decodes must not have met the first prefill yet.
// In the end only the second prefill is left.
func checkTable(t *testing.T, p, d [2]*server) {
	f := startFleet(t, p, d)
	// First, because a decode that has met an engine does not ask its side channel again.
	t.Run("side-channel-dead", func(t *testing.T) {
		f.served(t, func(a string) string { return strings.Replace(a, `"remote_port":`, `"remote_port":9,"was":`, 1) })
		require.Positive(t, f.counted("pd_router_instance_failures_total", `kind="status",leg="decode"`))
	})
	t.Run("hostile params", func(t *testing.T) {
		for _, params := range []any{
			askParams().with(body{"do_remote_prefill": true}), body{"do_remote_prefill": true}, "x", body{"do_remote_prefill": true, "remote_block_ids": []int{1}}, []int{1},
		} {
			a := f.ask(body{"kv_transfer_params": params})
			require.Equal(t, http.StatusOK, a.Status, a.Body)
		}
		require.True(t, p[0].alive() && p[1].alive() && d[0].alive() && d[1].alive(), "real vLLM dies of them")
	})
	t.Run("prefill-params-shape", func(t *testing.T) {
		f.served(t, func(a string) string { return strings.Replace(a, `"remote_engine_id":`, `"no_engine_id":`, 1) })
		require.Positive(t, f.counted("pd_router_handoffs_refused_total", `reason="shape"`))
	})
	t.Run("client-gone-midstream", func(t *testing.T) {
		on, _, leave := f.stream(t)
		require.Positive(t, metric(on.url, "vllm:num_requests_running"))
		leave()
		require.Eventually(t, func() bool { return metric(on.url, "vllm:num_requests_running") == 0 }, 10*time.Second, 50*time.Millisecond, "the decode is idle")
		require.Positive(t, f.counted("pd_router_requests_total", `code="499"`))
	})
	t.Run("prefill-restarts-between", func(t *testing.T) { // kill -9 between the legs
		f.served(t, func(a string) string { p[0].killGroup(); <-p[0].exited; return a })
		require.Equal(t, http.StatusOK, f.ask(nil).Status, "the decodes live")
	})
	var last *server
	t.Run("decode-resets-midstream", func(t *testing.T) { // kill -9 of a decode
		on, rest, _ := f.stream(t)
		on.killGroup()
		told(t, rest)
		require.Positive(t, f.counted("pd_router_stream_failures_total", `kind="cut"`))
		for range 3 {
			a := f.ask(nil)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.NotEqual(t, on.url, a.Header.Get(pd.HeaderDecode))
		}
		last = d[0]
		if on == last {
			last = d[1]
		}
	})
	t.Run("SIGTERM in mid-stream", func(t *testing.T) {
		require.NotNil(t, last)
		_, rest, _ := f.stream(t)
		last.signal(syscall.SIGTERM)
		told(t, rest)
		require.True(t, last.waitExit(30*time.Second))
	})
	t.Run("decode-all-refuse", func(t *testing.T) {
		a := f.ask(nil)
		require.Equal(t, http.StatusServiceUnavailable, a.Status, a.Body)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.True(t, p[1].alive())
	})
}

// TestSimulator_playsTheTable holds the rows to the simulator, which is there
// on every machine.
func TestSimulator_playsTheTable(t *testing.T) {
	command := buildCommand(t, "cmd/vllm-sim")
	var p, d [2]*server
	for n := range 2 {
		p[n], d[n] = startSimulators(t, command)
	}
	checkTable(t, p, d)
}
