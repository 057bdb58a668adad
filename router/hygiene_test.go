package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// give answers leg 1 with a handoff of which the given parts are changed.
func give(change map[string]string) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request, _ map[string]json.RawMessage) bool {
		parts := map[string]string{
			"do_remote_prefill": "true", "do_remote_decode": "false", "remote_block_ids": "[[1,2]]", "remote_engine_id": `"e"`,
			"remote_request_id": fmt.Sprintf("%q", "cmpl-"+r.Header.Get("X-Request-Id")+"-0-1234abcd"), "remote_host": `"10.0.0.1"`, "remote_port": "5600", "tp_size": "1",
		}
		for k, v := range change {
			parts[k] = v
		}
		var members []string
		for k, v := range parts {
			members = append(members, fmt.Sprintf("%q:%s", k, v))
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"x","choices":[],"kv_transfer_params":{%s}}`, strings.Join(members, ","))
		return true
	}
}

func sideChannel(port, ranks int) func(*fleet.Instance) {
	return func(i *fleet.Instance) { i.Meta.SideChannelPort, i.Meta.DPSize = port, ranks }
}

func TestHandoff_whatIsNotThePrefillsOwnIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		meta   func(*fleet.Instance)
		why    handoff.Refusal
	}{
		"another request's":     {map[string]string{"remote_request_id": `"cmpl-another-0-1234abcd"`}, nil, handoff.RefusedRequest},
		"another port":          {map[string]string{"remote_port": "5700"}, sideChannel(5600, 1), handoff.RefusedAddress},
		"a rank too many":       {map[string]string{"remote_port": "5602"}, sideChannel(5600, 2), handoff.RefusedAddress},
		"no address":            {map[string]string{"remote_host": `"0.0.0.0"`}, nil, handoff.RefusedAddress},
		"no address, mapped":    {map[string]string{"remote_host": `"::ffff:0.0.0.0"`}, nil, handoff.RefusedAddress},
		"block ids of a client": {map[string]string{"remote_block_ids": `[[1],"x"]`}, nil, handoff.RefusedShape},
	} {
		t.Run(name, func(t *testing.T) {
			world := newEngines(t)
			p, d := world.start(), world.start()
			p.onGenerate(give(c.change))
			var change []func(*fleet.Instance)
			if c.meta != nil {
				change = append(change, c.meta)
			}
			r := newRig(t, inst("p", p.URL, pd.RolePrefill, change...), inst("d", d.URL, pd.RoleDecode))
			r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoTransferParams)
			require.Equal(t, 1.0, r.metric("pd_router_handoffs_refused_total", "reason", string(c.why)))
			require.NotContains(t, d.requests()[0].raw, "kv_transfer_params")
		})
	}
}

func TestHandoff_anotherEngineOnAConnectionThatIsStillOpenIsRefused(t *testing.T) {
	r, p, d := pair(t)
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	p.onGenerate(give(map[string]string{"remote_engine_id": `"another"`}))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoTransferParams)
	require.Equal(t, 1.0, r.metric("pd_router_handoffs_refused_total", "reason", "engine"))

	// A proxy that keeps connections while an engine restarts behind it looks the
	// same; it must not keep the prefill out for ever.
	d.onGenerate(say("application/json", `{"choices":[{"text":"a"}]}`))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	require.Equal(t, 1.0, r.metric("pd_router_handoffs_refused_total", "reason", "engine"))
}

// What an engine held is gone with it.
func TestHandoff_anotherEngineHoldsNoPrompts(t *testing.T) {
	r, p, d := pair(t)
	blocks := func() int {
		for _, i := range r.status().Instances {
			if i.ID == "p" {
				return i.PrefixBlocks
			}
		}
		return -1
	}
	long := func(c string) string { return `{"prompt":"` + strings.Repeat(c, 4<<10) + `"}` }
	r.post(cmplPath, long("a")).served(t, pd.PathDisaggregated, "")
	r.post(cmplPath, long("b")).served(t, pd.PathDisaggregated, "")
	both := blocks()
	require.GreaterOrEqual(t, both, 14)
	p.onGenerate(give(map[string]string{"remote_engine_id": `"another"`}))
	r.post(cmplPath, long("c")).served(t, pd.PathLocal, pd.ReasonNoTransferParams) // over the old connection
	d.onGenerate(say("application/json", `{"choices":[{"text":"a"}]}`))
	r.post(cmplPath, long("c")).served(t, pd.PathDisaggregated, "")
	require.Equal(t, both/2, blocks(), "the one prompt that the new engine has computed")
}

func TestHandoff_requestIDOfTheBodyCounts(t *testing.T) {
	r, p, d := pair(t)
	p.onGenerate(give(map[string]string{"remote_request_id": `"cmpl-theirs-0-1234abcd"`}))
	d.onGenerate(say("application/json", `{"choices":[{"text":"a"}]}`))
	r.post(cmplPath, `{"prompt":"x","request_id":"theirs"}`).served(t, pd.PathDisaggregated, "")
}

func TestPrefill_misconfiguredIsPassedOver(t *testing.T) {
	for _, code := range []int{401, 403, 404} {
		world := newEngines(t)
		bad, good, d := world.start(), world.start(), world.start()
		bad.onGenerate(status(code))
		r := newRig(t, inst("bad", bad.URL, pd.RolePrefill), inst("good", good.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode))
		for len(bad.requests()) == 0 {
			r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
		}
		require.Equal(t, 1.0, r.metric("pd_router_suspect_answers_total", "code", fmt.Sprint(code)))
		good.onGenerate(status(code))
		require.Equal(t, fmt.Sprintf("engine says %d", code), r.post(cmplPath, `{"prompt":"x"}`).apiError(t, code).Message, "all say the same: it is the request")
		good.onGenerate(status(500))
		r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonPrefillFailed)
	}
}

func TestDecode_abortedJSONIsServedByAnother(t *testing.T) {
	r, _, d := pair(t)
	aborted := say("application/json", `{"choices":[{"index":0,"text":"","finish_reason":"abort"}]}`)
	d.onGenerate(once(aborted))
	got := r.post(cmplPath, `{"prompt":"x"}`)
	got.served(t, pd.PathLocal, pd.ReasonHandoffFailed)
	require.Contains(t, got.body, "local")
	require.Equal(t, 1.0, r.metric("pd_router_stream_failures_total", "kind", "aborted"))
	d.onGenerate(aborted)
	r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 502)
}

func TestStream_errorAfterATokenIsPassedOnAndCounted(t *testing.T) {
	r, _, d := pair(t)
	stream := "data: {\"choices\":[{\"index\":0,\"text\":\"one\",\"finish_reason\":null}]}\n\ndata: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\ndata: [DONE]\n\n"
	d.onGenerate(say("text/event-stream", stream))
	require.Equal(t, stream, r.post(cmplPath, `{"prompt":"x","stream":true}`).body)
	require.Equal(t, 1.0, r.metric("pd_router_stream_failures_total", "kind", "late_error"))
	require.Len(t, d.requests(), 1)
}

func TestPaths_areNotRedirected(t *testing.T) {
	r, p, d := pair(t)
	for _, path := range []string{"//v1/chat/completions", "/v1//chat/completions", "/v1/../v1/chat/completions", "/./v1/completions", "/v1/completions/"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.front.URL, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", path)
		require.NoError(t, err)
		b, err := io.ReadAll(conn)
		require.NoError(t, err)
		conn.Close()
		require.Contains(t, string(b), "HTTP/1.1 404", path)
		require.Contains(t, string(b), "NotFoundError", path)
	}
	require.Empty(t, append(p.requests(), d.requests()...))
}

// A browser asks before it sends; vLLM answers with Starlette's defaults.
func TestCORS_asVLLM(t *testing.T) {
	r, _, _ := pair(t)
	got := r.do(http.MethodOptions, chatPath, "", "Origin", "https://app", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-b")
	require.Equal(t, 200, got.StatusCode)
	require.Equal(t, "OK", got.body)
	require.Equal(t, "*", got.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, got.Header.Get("Access-Control-Allow-Methods"), "POST")
	require.Equal(t, "authorization,x-b", got.Header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "600", got.Header.Get("Access-Control-Max-Age"))
	plain := r.do(http.MethodOptions, chatPath, "")
	require.Equal(t, 405, plain.StatusCode)
	require.Equal(t, "POST", plain.Header.Get("Allow"))
	require.Equal(t, "*", r.post(chatPath, "{", "Origin", "https://app").Header.Get("Access-Control-Allow-Origin"), "a page must be able to read our errors")
	require.Empty(t, r.post(chatPath, "{").Header.Get("Access-Control-Allow-Origin"))
}

func TestReaches_loopbackOnlyOnTheSameHost(t *testing.T) {
	at := func(url string) *fleet.Instance { return inst("i", url, pd.RolePrefill) }
	loop, far := handoff.Given{Host: "127.0.0.1"}, handoff.Given{Host: "10.0.0.1"}
	require.True(t, loop.Reaches(at("http://10.0.0.1:1"), at("http://10.0.0.1:2")))
	require.True(t, loop.Reaches(at("http://127.0.0.1:1"), at("http://localhost:2")))
	require.False(t, loop.Reaches(at("http://10.0.0.1:1"), at("http://10.0.0.2:2")))
	require.False(t, handoff.Given{Host: "localhost"}.Reaches(at("http://10.0.0.1:1"), at("http://10.0.0.2:2")))
	require.True(t, far.Reaches(at("http://10.0.0.1:1"), at("http://10.0.0.2:2")))
}

func TestLease_partOfItIsKeptBack(t *testing.T) {
	require.Equal(t, 25*time.Second, handoff.Lease(inst("p", "", pd.RolePrefill)))
	require.Equal(t, 3*time.Second, handoff.Lease(inst("p", "", pd.RolePrefill, func(i *fleet.Instance) { i.Meta.KVLease = 4 * time.Second })))
}

// While a decode takes its time to refuse, the prefill's lease runs out.
func TestHandoff_tooOldIsReplacedByAFreshOne(t *testing.T) {
	world := newEngines(t)
	p, d := world.start(), world.start()
	lease := func(i *fleet.Instance) { i.Meta.KVLease = 1 }
	r := newRig(t, inst("p", p.URL, pd.RolePrefill, lease), inst("d", d.URL, pd.RoleDecode))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonHandoffFailed)
	require.Equal(t, 2.0, r.metric("pd_router_handoffs_refused_total", "reason", "late"))
	require.Len(t, p.requests(), 2, "the second attempt had a handoff of its own")
	require.Len(t, d.requests(), 1, "none with params that are too old")
}
