package judge

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// engine is a server that keeps what it is sent.
type engine struct {
	*httptest.Server
	mu   sync.Mutex
	seen [][]byte
	// answers is what it says to a body, and as which content.
	answers func(path string, body []byte) (content, answer string)
}

func startEngine(tb testing.TB, answers func(path string, body []byte) (content, answer string)) *engine {
	e := &engine{answers: answers}
	e.Server = httptest.NewServer(e)
	tb.Cleanup(func() { e.CloseClientConnections(); e.Close() })
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		raw = append(raw, " (and it broke off)"...) // which is no leg that the judge lets pass
	}
	e.mu.Lock()
	e.seen = append(e.seen, raw)
	e.mu.Unlock()
	content, answer := e.answers(r.URL.Path, raw)
	w.Header().Set("Content-Type", content)
	_, _ = io.WriteString(w, answer) // the router may have given up
}

// take is what came since it was called last.
func (e *engine) take() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.seen
	e.seen = nil
	return seen
}

const (
	asJSON   = "application/json"
	asStream = "text/event-stream"
)

// decoded is a decode's answer, a stream if the body asks for one.
func decoded(path string, body []byte) (content, answer string) {
	var asked map[string]json.RawMessage
	if json.Unmarshal(body, &asked) != nil || !bytes.Equal(asked["stream"], []byte("true")) {
		return asJSON, `{"type":"message","status":"completed","choices":[{"index":0,"text":"a"}],"stop_reason":"end_turn"}`
	}
	switch handoff.Endpoint(path) {
	case handoff.Responses:
		return asStream, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n"
	case handoff.Messages:
		return asStream, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	}
	return asStream, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
}
