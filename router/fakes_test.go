package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// engines is a world of fake vLLM servers that know of one another's blocks.
// They are strict: a leg body that real vLLM would choke on, answer wrongly,
// or that the router must not send, fails the test. A lenient fake would hide
// params that are sent twice, a leg 1 that asks for more than a token, and
// prompts that differ between the legs.
type engines struct {
	t  *testing.T
	mu sync.Mutex
	// leases are the prompts that prefills hold, by remote_request_id.
	leases map[string]string
	next   int
}

// engine is one fake vLLM server.
type engine struct {
	*httptest.Server
	world *engines
	id    string

	mu sync.Mutex
	// fault, if set, may answer the n-th generation (from 1) itself.
	fault func(n int, w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool
	seen  []seen
}

// seen is one generation request that arrived.
type seen struct {
	header http.Header
	raw    string
	body   map[string]json.RawMessage
}

func newEngines(t *testing.T) *engines {
	return &engines{t: t, leases: map[string]string{}}
}

func (e *engines) start() *engine {
	e.mu.Lock()
	e.next++
	x := &engine{world: e, id: fmt.Sprintf("engine-%d", e.next)}
	e.mu.Unlock()
	x.Server = httptest.NewServer(x)
	e.t.Cleanup(func() { x.CloseClientConnections(); x.Close() })
	return x
}

func (x *engine) requests() []seen {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]seen(nil), x.seen...)
}

func (x *engine) onGenerate(f func(n int, w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fault = f
}

func (x *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/models":
		fmt.Fprintf(w, `{"object":"list","data":[{"id":"m","object":"model","root":%q}]}`, x.id)
		return
	case "/v1/chat/completions", "/v1/completions":
	default:
		http.NotFound(w, r)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the router gave up
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		x.world.t.Errorf("%s got invalid JSON: %v: %s", x.id, err, raw)
		http.Error(w, "bad", 400)
		return
	}
	x.mu.Lock()
	x.seen = append(x.seen, seen{r.Header.Clone(), string(raw), body})
	n, fault := len(x.seen), x.fault
	x.mu.Unlock()
	for k := range r.Header {
		if strings.HasPrefix(k, "X-Pd-") {
			x.world.t.Errorf("%s got contract header %s", x.id, k)
		}
	}
	if fault != nil && fault(n, w, r, body) {
		return
	}
	x.generate(w, r, body)
}

func (x *engine) generate(w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) {
	kv := body["kv_transfer_params"]
	switch {
	case kv == nil:
		x.answer(w, r, body, "local "+prompt(body))
	case strings.Contains(string(kv), `"do_remote_decode":true`):
		x.legOne(w, r, body)
	default:
		x.legTwo(w, r, body, kv)
	}
}

func (x *engine) legOne(w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage) {
	t := x.world.t
	const want = `{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}`
	if got := string(body["kv_transfer_params"]); got != want {
		t.Errorf("leg 1 params %s", got)
	}
	expect := map[string]string{"stream": "false", "max_tokens": "1", "stream_options": "", "min_tokens": "", "min_completion_tokens": ""}
	if r.URL.Path == "/v1/chat/completions" {
		expect["max_completion_tokens"] = "1"
	}
	for k, want := range expect {
		if got := string(body[k]); got != want {
			t.Errorf("leg 1 %s = %s, want %q", k, got, want)
		}
	}
	x.world.mu.Lock()
	x.world.next++
	lease := "cmpl-" + r.Header.Get("X-Request-Id") + "-" + strconv.Itoa(x.world.next)
	x.world.leases[lease] = prompt(body)
	x.world.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id":"x","choices":[{"index":0,"text":"a"}],"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,`+
		`"remote_block_ids":[[1,2]],"remote_engine_id":%q,"remote_request_id":%q,"remote_host":"127.0.0.1","remote_port":5600,"tp_size":1,"big":9007199254740993}}`, x.id, lease)
}

func (x *engine) legTwo(w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage, kv json.RawMessage) {
	t := x.world.t
	var p struct {
		Prefill bool   `json:"do_remote_prefill"`
		Decode  bool   `json:"do_remote_decode"`
		Request string `json:"remote_request_id"`
	}
	if err := json.Unmarshal(kv, &p); err != nil || !p.Prefill || p.Decode {
		t.Errorf("leg 2 params kill the engine: %s", kv)
	}
	if !strings.Contains(string(kv), `"big":9007199254740993`) {
		t.Errorf("leg 2 params were not passed on as they came: %s", kv)
	}
	x.world.mu.Lock()
	held, ok := x.world.leases[p.Request]
	delete(x.world.leases, p.Request)
	x.world.mu.Unlock()
	if !ok {
		t.Errorf("params of %s were used before or never given", p.Request)
	}
	if held != prompt(body) {
		t.Errorf("legs differ in their prompts: %s and %s", held, prompt(body))
	}
	if !strings.HasPrefix(p.Request, "cmpl-"+r.Header.Get("X-Request-Id")+"-") {
		t.Errorf("legs differ in X-Request-Id: %s and %s", p.Request, r.Header.Get("X-Request-Id"))
	}
	x.answer(w, r, body, "kv "+held)
}

// answer writes text as vLLM would, a word a token.
func (x *engine) answer(w http.ResponseWriter, r *http.Request, body map[string]json.RawMessage, text string) {
	w.Header().Set("X-Request-Id", "not-ours")
	w.Header().Set("Server", "uvicorn")
	chat := r.URL.Path == "/v1/chat/completions"
	if string(body["stream"]) != "true" {
		w.Header().Set("Content-Type", "application/json")
		b, _ := json.Marshal(text)
		fmt.Fprintf(w, `{"served_by":%q,"choices":[{"index":0,"text":%s}],"kv_transfer_params":null}`, x.id, b)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	if chat {
		event(w, `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
	}
	for word := range strings.FieldsSeq(text) {
		b, _ := json.Marshal(word)
		if chat {
			event(w, fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`, b))
		} else {
			event(w, fmt.Sprintf(`{"choices":[{"index":0,"text":%s,"finish_reason":null}]}`, b))
		}
	}
	event(w, "[DONE]")
}

func event(w http.ResponseWriter, data string) {
	fmt.Fprintf(w, "data: %s\n\n", data)
	_ = http.NewResponseController(w).Flush()
}

// prompt is the part of a body that both legs must have in common.
func prompt(body map[string]json.RawMessage) string {
	if p := body["prompt"]; p != nil {
		return string(p)
	}
	return string(body["messages"])
}

// reset breaks the connection without an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// refused is an address at which nobody listens.
func refused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return "http://" + l.Addr().String()
}
