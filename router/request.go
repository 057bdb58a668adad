package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// request is what a client asked, checked and cleaned. It is immutable.
type request struct {
	endpoint handoff.Endpoint
	id       string       // X-Request-Id of both legs and the reply
	model    string       // "" if the client named none
	object   *body.Object // the body without what clients must not send
	header   http.Header  // what both legs carry; never changed after
	started  time.Time
}

// errClientGone is wrapped by the error of a body that ended too early.
var errClientGone = errors.New("client left before its request was complete")

// readRequest reads and checks a request. The error is an *apiError, or the
// cause why the client is gone.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request, req *request) error {
	raw, err := readBody(w, r, s.cfg.MaxBody)
	if err != nil {
		return err
	}
	object, err := body.Parse(raw)
	if err == nil {
		object, err = handoff.Clean(object)
	}
	if err != nil {
		return badRequest(err.Error(), "body")
	}
	req.object = object
	if raw := object.Get("model"); raw != nil && string(raw) != "null" {
		if json.Unmarshal(raw, &req.model) != nil {
			return badRequest("model is not a string", "model")
		}
	}
	req.header = s.legHeader(r.Header, req.id)
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, most)
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= most {
		// Content-Length is only a claim: trust it as far as a first allocation.
		buf.Grow(int(min(n, 1<<20)) + bytes.MinRead)
	}
	_, err := io.Copy(&buf, limited)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &apiError{
			Message: fmt.Sprintf("request body is larger than %d bytes", tooLarge.Limit),
			Type:    typeTooLarge, Code: http.StatusRequestEntityTooLarge,
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: %w", errClientGone, err)
	}
	if err != nil {
		return nil, badRequest("request body cannot be read: "+err.Error(), nil)
	}
	return buf.Bytes(), nil
}

// requestID is the client's id if it is a sane one, else a new one. It goes
// into vLLM's own request ids and into logs.
func requestID(h http.Header) string {
	if ids := h.Values(pd.HeaderRequestID); len(ids) == 1 && saneID(ids[0]) {
		return ids[0]
	}
	return uuid.NewString()
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

// hopByHop are the headers that belong to one connection (RFC 9110, 7.6.1).
func hopByHop() []string {
	return []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
}

// legHeader is what of a client's headers reaches an instance.
func (s *Server) legHeader(client http.Header, id string) http.Header {
	h := client.Clone()
	dropHopByHop(h)
	for k := range h {
		if strings.HasPrefix(k, pd.HeaderPrefix) {
			delete(h, k)
		}
	}
	for _, k := range []string{
		"Host", "Content-Length", "Expect",
		// A compressed leg 1 could not be read, nor a stream be judged.
		"Accept-Encoding",
		// net/http sends a POST with one of these a second time by itself
		// after a broken connection; kv_transfer_params must never be.
		"Idempotency-Key", "X-Idempotency-Key",
	} {
		h.Del(k)
	}
	h.Set(pd.HeaderRequestID, id)
	if key := s.cfg.UpstreamAPIKey.Reveal(); key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	return h
}

// dropHopByHop removes the headers of one connection, the ones that Connection
// names included.
func dropHopByHop(h http.Header) {
	for _, line := range h.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, k := range hopByHop() {
		h.Del(k)
	}
}
