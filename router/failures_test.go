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

	"github.com/nomad-vllm/nomad-vllm/pd"
)

const (
	waitFor = 5 * time.Second
	tick    = 2 * time.Millisecond
)

type handler = func(n int, w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool

// status answers every generation with a status.
func status(code int) handler {
	return func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":"engine says %d","type":"X","param":null,"code":%d}}`, code, code)
		return true
	}
}

// say answers every generation with 200 and a body.
func say(contentType, body string) handler {
	return func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func broken(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
	reset(w)
	return true
}

func cutAnswer(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"half":`)
	return true
}

// once lets only the first generation fail.
func once(h handler) handler {
	return func(n int, w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool {
		return n == 1 && h(n, w, r, body)
	}
}

func TestPrefill_withoutParamsGoesLocalAndIsCounted(t *testing.T) {
	for name, answer := range map[string]string{
		"null":         `{"kv_transfer_params":null}`,
		"absent":       `{}`,
		"string":       `{"kv_transfer_params":"x"}`,
		"no prefill":   `{"kv_transfer_params":{"remote_engine_id":"e","remote_host":"h","remote_port":1,"remote_block_ids":[]}}`,
		"both true":    `{"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":true,"remote_engine_id":"e","remote_host":"h","remote_port":1,"remote_block_ids":[[1]]}}`,
		"no engine id": `{"kv_transfer_params":{"do_remote_prefill":true,"remote_host":"h","remote_port":1,"remote_block_ids":[[1]]}}`,
		"no host":      `{"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"e","remote_port":1,"remote_block_ids":[[1]]}}`,
		"null port":    `{"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"e","remote_host":"h","remote_port":null,"remote_block_ids":[[1]]}}`,
		"null blocks":  `{"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"e","remote_host":"h","remote_port":1,"remote_block_ids":null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, p, _ := pair(t)
			p.onGenerate(say("application/json", answer))
			r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonNoTransferParams)
			require.Equal(t, 1.0, r.metric("pd_router_requests_total", "path", "local", "reason", "no_transfer_params", "code", "200"))
		})
	}
}

func TestDecodeFailure_getsAFreshHandoff(t *testing.T) {
	sseError := "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n" +
		"data: {\"error\": {\"message\": \"Internal server error\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}\n\ndata: [DONE]\n\n"
	sseEmpty := "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}}\n\ndata: [DONE]\n\n"
	for name, fault := range map[string]handler{
		"500": status(500), "reset": broken, "stream error": say("text/event-stream", sseError),
		"stream empty": say("text/event-stream", sseEmpty), "stream nothing": say("text/event-stream; charset=utf-8", ""),
		"stream aborted": say("text/event-stream", "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"abort\"}]}\n\ndata: [DONE]\n\n"),
	} {
		t.Run(name, func(t *testing.T) {
			world := newEngines(t)
			p1, p2, d1, d2 := world.start(), world.start(), world.start(), world.start()
			d1.onGenerate(fault)
			r := newRig(t, inst("p1", p1.URL, pd.RolePrefill), inst("p2", p2.URL, pd.RolePrefill),
				inst("d1", d1.URL, pd.RoleDecode), inst("d2", d2.URL, pd.RoleDecode))
			for len(d1.requests()) == 0 {
				got := r.post(chatPath, `{"messages":[1],"stream":true}`)
				got.served(t, pd.PathDisaggregated, "")
				require.Equal(t, "d2", got.Header.Get(pd.HeaderDecode))
				require.Contains(t, got.body, `"content":"kv"`)
				require.NotContains(t, got.body, "Internal server error")
			}
			require.Equal(t, len(p1.requests())+len(p2.requests()), len(d1.requests())+len(d2.requests()), "each decode leg had a prefill leg of its own")
			require.Equal(t, 1.0, r.metric("pd_router_retries_total", "leg", "decode"))
		})
	}
}

func TestDecodeFailure_refusedKeepsTheParamsForAnother(t *testing.T) {
	world := newEngines(t)
	p, d := world.start(), world.start()
	r := newRig(t, inst("p", p.URL, pd.RolePrefill), inst("gone", refused(t), pd.RoleDecode), inst("d", d.URL, pd.RoleDecode))
	for range 20 {
		r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
	}
	require.Len(t, p.requests(), 20, "nobody saw the params, so no second prefill leg is needed")
	require.Positive(t, r.metric("pd_router_retries_total", "leg", "decode"))
}

func TestDecodeFailure_withNoOtherPrefillGoesLocal(t *testing.T) {
	r, p, d := pair(t)
	d.onGenerate(once(status(500)))
	r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathLocal, pd.ReasonHandoffFailed)
	require.Len(t, p.requests(), 1)
	require.Len(t, d.requests(), 2)
}

func TestDecodeFailure_inTheEndIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		fault handler
		code  int
	}{
		"500 is relayed": {status(500), 500}, "503 is relayed": {status(503), 503}, "reset": {broken, 502},
		"empty stream": {say("text/event-stream", "data: [DONE]\n\n"), 502},
	} {
		t.Run(name, func(t *testing.T) {
			r, p, d := pair(t)
			d.onGenerate(c.fault)
			r.post(cmplPath, `{"prompt":"x","stream":true}`).apiError(t, c.code)
			require.Len(t, d.requests(), 2)
			require.LessOrEqual(t, len(p.requests()), 2)
		})
	}
	r := newRig(t, inst("gone", refused(t), pd.RoleDecode))
	got := r.post(cmplPath, `{"prompt":"x"}`)
	require.Contains(t, got.apiError(t, 503).Message, "no decode instance can be connected to")
	require.NotEmpty(t, got.Header.Get("Retry-After"))
}

func TestClientThatClosesItsSendingSide_isNotTold200(t *testing.T) {
	r, _, d := pair(t)
	held := make(chan struct{})
	d.onGenerate(func(_ int, _ http.ResponseWriter, req *http.Request, _ map[string]json.RawMessage) bool {
		close(held)
		<-req.Context().Done()
		return true
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.front.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	const body = `{"prompt":"x"}`
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", cmplPath, len(body), body)
	require.NoError(t, err)
	<-held
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, _ := io.ReadAll(conn)
	require.Empty(t, string(answer))
}

func TestDecode_clientsFaultIsRelayed(t *testing.T) {
	r, _, d := pair(t)
	d.onGenerate(status(400))
	r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 400)
	require.Len(t, d.requests(), 1)
	// In a stream as well: the error names the client's fault.
	d.onGenerate(say("text/event-stream", "data: {\"error\":{\"message\":\"too long\",\"code\":400}}\n\ndata: [DONE]\n\n"))
	got := r.post(cmplPath, `{"prompt":"x","stream":true}`)
	require.Contains(t, got.body, "too long")
	require.Len(t, d.requests(), 2)
}

// cutChunks is half an answer without a length: only the missing last chunk
// tells it from a whole one.
func cutChunks(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
	_, _ = io.WriteString(w, `{"half":`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestDecode_brokenJSONIsServedByAnother(t *testing.T) {
	for name, fault := range map[string]handler{"length": cutAnswer, "chunked": cutChunks} {
		t.Run(name, func(t *testing.T) {
			r, _, d := pair(t)
			d.onGenerate(once(fault))
			r.post(cmplPath, `{"prompt":"x"}`).served(t, pd.PathDisaggregated, "")
			d.onGenerate(fault)
			require.Contains(t, r.post(cmplPath, `{"prompt":"x"}`).apiError(t, 502).Message, "not sent to another")
		})
	}
}

// An answer too long to be held is passed on as it comes, and cannot be taken back.
func TestDecode_brokenLongJSONIsBrokenOff(t *testing.T) {
	r, _, d := pair(t)
	d.onGenerate(func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Length", "3000000")
		_, _ = io.WriteString(w, strings.Repeat("x", 2_000_000))
		return true
	})
	resp, err := http.Post(r.front.URL+cmplPath, "application/json", strings.NewReader(`{"prompt":"x"}`))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	require.Error(t, err, "half an answer must not look like a whole one")
	require.Equal(t, 0.0, r.metric("pd_router_requests_in_flight"))
}

func TestDecode_longJSONIsPassedOnWhole(t *testing.T) {
	r, _, d := pair(t)
	long := `{"text":"` + strings.Repeat("long ", 700_000) + `"}`
	d.onGenerate(say("application/json", long))
	require.True(t, r.post(cmplPath, `{"prompt":"x"}`).body == long)
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(waitFor):
		t.Fatal("timed out")
	}
}
