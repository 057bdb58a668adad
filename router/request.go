package router

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
	"github.com/nomad-vllm/nomad-vllm/router/buffer"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/sse"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// request is what a client asked, checked and cleaned.
type request struct {
	endpoint handoff.Endpoint
	id       string       // X-Request-Id of both legs and the reply
	model    string       // "" if the client named none
	object   *body.Object // the body without what clients must not send
	header   []byte       // the header lines of both legs
	started  time.Time
	// passed: by one instance as it is. If it is a form, the body is form and
	// there is no object.
	passed bool
	form   []byte
	// wantsReport: the client itself asked for the instance's load.
	wantsReport bool

	memory *buffer.Buffer // what object lies in
}

// protocolOf is how an endpoint's answers are written.
func protocolOf(ep handoff.Endpoint) sse.Protocol {
	switch ep {
	case handoff.Responses:
		return sse.Responses
	case handoff.Messages:
		return sse.Messages
	}
	return sse.OpenAI
}

// errClientGone is wrapped by the error of a body that ended too early.
var errClientGone = errors.New("client left before its request was complete")

// readRequest reads and checks a request. The error is an *apiError, or the
// cause why the client is gone.
func (t *trip) readRequest(r *http.Request) error {
	// A body that trickles in holds a place; one that is there costs nothing.
	_ = t.control.SetReadDeadline(t.req.started.Add(t.out.queued + t.s.cfg.BodyTimeout)) // where it can be set
	memory, err := t.s.readBody(t.w, r)
	if err != nil {
		t.w.Header().Set("Connection", "close") // the rest of the body is not waited for
		return err
	}
	_ = t.control.SetReadDeadline(time.Time{})
	req := &t.req
	req.memory = memory
	if takesForm(req.endpoint) {
		return t.takeForm(r, memory.B)
	}
	req.object = &t.parsed
	err = t.parsed.Reset(memory.B)
	if err == nil {
		req.object, err = handoff.Clean(&t.parsed)
	}
	if err != nil {
		return badRequest(err.Error(), "body")
	}
	if raw := req.object.Get("model"); raw != nil && string(raw) != "null" {
		var ok bool
		if req.model, ok = body.Text(raw); !ok {
			return badRequest("model is not a string", "model")
		}
	}
	t.takeHeader(r.Header)
	return nil
}

// takeHeader takes what of a client's headers the legs need.
func (t *trip) takeHeader(h http.Header) {
	t.req.wantsReport = h[choose.ReportFormatHeader] != nil
	t.req.header = t.s.appendLegHeader(t.req.header[:0], h, t.req.id)
}

// readBody reads a request's body into borrowed memory.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (*buffer.Buffer, error) {
	most, from := s.cfg.MaxBody, io.Reader(r.Body)
	if r.ContentLength < 0 || r.ContentLength > most {
		from = http.MaxBytesReader(w, r.Body, most) // which also ends the connection
	}
	memory, err := s.memory.ReadAll(from, r.ContentLength, most)
	if err == nil {
		return memory, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, buffer.ErrTooLarge) {
		return nil, &apiError{
			Message: fmt.Sprintf("request body is larger than %d bytes", most),
			Type:    typeTooLarge, Code: http.StatusRequestEntityTooLarge,
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: %w", errClientGone, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &apiError{
			Message: fmt.Sprintf("the request body did not arrive within %s", s.cfg.BodyTimeout),
			Type:    typeTimeout, Code: http.StatusRequestTimeout,
		}
	}
	return nil, badRequest("request body cannot be read: "+err.Error(), nil)
}

// freeBody gives the body's memory back: nobody will send it again.
func (t *trip) freeBody() {
	t.req.memory.Free()
	t.req.memory, t.req.object, t.req.form = nil, nil, nil
	t.leg.Forget()
}

// requestID is the client's id if it is a sane one, else a new one. It goes
// into vLLM's own request ids and into logs.
func requestID(h http.Header) string {
	if ids := h[pd.HeaderRequestID]; len(ids) == 1 && saneID(ids[0]) {
		return ids[0]
	}
	return newID()
}

// newID is a random UUID (version 4), from the runtime's own generator: an id
// is no secret, and asking the system for one costs more than all of the rest.
func newID() string {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:8], raw[:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:], raw[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func saneID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

// ownConnection reports whether a header, in canonical form, belongs to one
// connection (RFC 9110, 7.6.1).
func ownConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// forLegs reports whether a client's header may reach an instance.
func forLegs(name string) bool {
	switch name {
	case "Host", "Content-Length", "Expect", pd.HeaderRequestID,
		// A compressed leg 1 could not be read, nor a stream be judged.
		"Accept-Encoding",
		// They invite whoever is between here and the instance to send a
		// request twice; kv_transfer_params must never be.
		"Idempotency-Key", "X-Idempotency-Key":
		return false
	}
	return !ownConnection(name) && !strings.HasPrefix(name, pd.HeaderPrefix)
}

// appendLegHeader writes what of a client's headers reaches an instance.
func (s *Server) appendLegHeader(b []byte, client http.Header, id string) []byte {
	key := s.cfg.UpstreamAPIKey.Reveal()
	var named []string // by the client as its connection's
	for _, line := range client["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range client {
		if s.cfg.Tracer != nil && (name == "Traceparent" || name == "Tracestate") {
			continue // the legs have spans of their own, below the client's
		}
		if !forLegs(name) || slices.Contains(named, name) || name == "Authorization" && (key != "" || s.keys.Required()) {
			continue
		}
		for _, v := range values {
			b = upstream.AppendHeader(b, name, v)
		}
	}
	if client[choose.ReportFormatHeader] == nil {
		b = upstream.AppendHeader(b, choose.ReportFormatHeader, choose.ReportFormat)
	}
	b = upstream.AppendHeader(b, pd.HeaderRequestID, id)
	if key != "" {
		b = upstream.AppendHeader(b, "Authorization", "Bearer "+key)
	}
	return b
}
