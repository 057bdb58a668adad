package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// stand is an instance as the router knows it: a proxy before a simulator, that
// spoils what passes through it while a fault is set.
type stand struct {
	name    string
	role    string // "prefill" or "decode"
	sim     *process
	simURL  string
	port    int
	proxy   *httputil.ReverseProxy
	fault   atomic.Pointer[string]
	handler http.Handler

	mu     sync.Mutex
	server *http.Server // nil: connections are refused
	served sync.WaitGroup
}

// faults are what a stand can do, with the pool that it makes sense for; empty: both.
var faults = map[string]string{
	"400": "", "401": "", "404": "", "429": "", "500": "", "503": "", "reset": "", "half": "", "hang": "", "garbage": "",
	"no-params": "prefill", "foreign-params": "prefill", "dead-side-channel": "prefill",
	"empty-stream": "decode", "error-event": "decode", "begin-and-reset": "decode", "stall": "decode", "abort": "decode",
}

// streamed are the faults of an answer that is a stream; of another they would
// be no answer to what was asked.
var streamed = map[string]bool{"empty-stream": true, "error-event": true, "begin-and-reset": true, "stall": true, "abort": true}

func newStand(name, role string, port int, sim *process, simURL string) (*stand, error) {
	base, err := url.Parse(simURL)
	if err != nil {
		return nil, err
	}
	s := &stand{name: name, role: role, port: port, sim: sim, simURL: simURL, proxy: httputil.NewSingleHostReverseProxy(base)}
	s.proxy.FlushInterval = -1
	s.proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 32}
	s.proxy.ErrorLog = discard
	s.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) }
	return s, nil
}

// listen lets the router connect.
func (s *stand) listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return fmt.Errorf("listen for %s: %w", s.name, err)
	}
	server := &http.Server{Handler: s, ErrorLog: discard}
	s.server = server
	s.served.Go(func() { _ = server.Serve(l) })
	return nil
}

// refuse drops every connection and takes no new one.
func (s *stand) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		_ = s.server.Close()
		s.served.Wait()
		s.server = nil
	}
}

func (s *stand) set(fault string) { s.fault.Store(&fault) }

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	fault := s.fault.Load()
	if fault == nil || *fault == "" || r.Method != http.MethodPost || streamed[*fault] && !bytes.Contains(b, []byte(`"stream":true`)) {
		s.proxy.ServeHTTP(w, r)
		return
	}
	s.spoil(w, r, *fault)
}

func (s *stand) spoil(w http.ResponseWriter, r *http.Request, fault string) {
	const stream = "text/event-stream"
	say := func(kind, text string) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
	}
	switch fault {
	case "reset":
		reset(w)
	case "half":
		a := s.answer(r)
		w.Header().Set("Content-Length", fmt.Sprint(len(a)+1))
		_, _ = io.WriteString(w, a[:len(a)/2])
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
	case "garbage":
		say("text/html", "<html>not here</html>")
	case "no-params":
		say("application/json", `{"choices":[{"index":0,"text":"a"}],"kv_transfer_params":null}`)
	case "foreign-params":
		say("application/json", strings.Replace(s.answer(r), `"remote_request_id":"`, `"remote_request_id":"another","was":"`, 1))
	case "dead-side-channel":
		say("application/json", strings.Replace(s.answer(r), `"remote_port":`, `"remote_port":9,"was":`, 1))
	case "empty-stream":
		say(stream, "data: [DONE]\n\n")
	case "error-event":
		say(stream, `data: {"error":{"message":"drill","type":"InternalServerError","param":null,"code":500}}`+"\n\ndata: [DONE]\n\n")
	case "abort":
		say(stream, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}`+"\n\ndata: [DONE]\n\n")
	case "begin-and-reset":
		say(stream, ": hello\n\n")
		panic(http.ErrAbortHandler)
	case "stall":
		say(stream, `data: {"choices":[{"index":0,"text":"one","delta":{"content":"one"},"finish_reason":null}]}`+"\n\n")
		<-r.Context().Done()
	default:
		var code int
		_, _ = fmt.Sscan(fault, &code)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":"drill","type":"Drill","param":null,"code":%d}}`, code)
	}
}

// answer is the simulator's, whole.
func (s *stand) answer(r *http.Request) string {
	w := httptest.NewRecorder()
	s.proxy.ServeHTTP(w, r)
	return w.Body.String()
}

// reset breaks the connection without an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // a recorder, or a connection that is gone
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
