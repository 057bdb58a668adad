package router

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
)

// bufferSize is what one relay holds of an answer, whatever its length.
const bufferSize = 32 << 10

// newBuffers lends relay buffers.
func newBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}
}

// relay passes an answer on. From its first byte there is no way back.
func (t *trip) relay(a *answer) {
	defer a.close()
	copyHeader(t.w.Header(), a.resp.Header)
	if n := a.resp.ContentLength; n >= 0 && !a.stream {
		t.w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	t.setHeaders()
	t.out.code = a.resp.StatusCode
	t.w.WriteHeader(a.resp.StatusCode)
	written, readErr, writeErr := t.s.stream(t.w, a.body(), a.stream || a.resp.ContentLength < 0)
	t.out.bytes = written
	switch {
	case writeErr != nil:
		t.out.code, t.out.failure = statusClientGone, "client gone: "+writeErr.Error()
	case readErr != nil:
		t.cut(a, readErr)
	}
}

// cut ends an answer that broke off under way. A stream gets the events with
// which vLLM itself reports an error; anything else can only be broken off.
func (t *trip) cut(a *answer, err error) {
	if a.resp.Request.Context().Err() != nil {
		t.out.code, t.out.failure = statusClientGone, "client gone"
		return
	}
	t.out.failure = fmt.Sprintf("answer broke off after %d bytes: %v", t.out.bytes, err)
	t.s.logger.Warn("decode broke off", "request_id", t.req.id, "decode", t.out.decode, "path", t.out.path, "bytes", t.out.bytes, "error", err)
	t.s.metrics.StreamFailure(metrics.StreamCut)
	if !a.stream {
		panic(http.ErrAbortHandler) // the way to make net/http drop the connection
	}
	e := badGateway("decode instance " + t.out.decode + " broke off the answer")
	// The empty line first: the last event may have lost its end.
	_, _ = fmt.Fprintf(t.w, "\n\ndata: %s\n\ndata: [DONE]\n\n", e.body())
}

// stream copies with one pooled buffer, flushing each piece if asked to: a
// token that waits for the next one to fill a buffer is a late token.
func (s *Server) stream(w http.ResponseWriter, r io.Reader, flush bool) (written int64, readErr, writeErr error) {
	lent := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(lent)
	rc := http.NewResponseController(w)
	for {
		n, err := r.Read(*lent)
		if n > 0 {
			m, werr := w.Write((*lent)[:n])
			written += int64(m)
			if werr == nil && flush {
				werr = rc.Flush()
			}
			if werr != nil {
				return written, nil, werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return written, nil, nil
		case err != nil:
			return written, err, nil
		}
	}
}

// relayAnswered passes on leg 1's verdict on the request itself.
func (t *trip) relayAnswered(a *answered) {
	copyHeader(t.w.Header(), a.header)
	t.w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	t.setHeaders()
	t.out.code = a.code
	t.w.WriteHeader(a.code)
	n, _ := t.w.Write(a.body)
	t.out.bytes = int64(n)
}

// copyHeader takes over an instance's headers, but for those of its
// connection and those that are ours to set.
func copyHeader(to, from http.Header) {
	dropHopByHop(from)
	for k, values := range from {
		switch {
		case strings.HasPrefix(k, pd.HeaderPrefix), k == pd.HeaderRequestID, k == pd.HeaderServerTiming, k == "Content-Length", k == "Date":
		default:
			to[k] = values
		}
	}
}

// setHeaders says how the request was served.
func (t *trip) setHeaders() {
	h := t.w.Header()
	set := func(k, v string) {
		if v != "" {
			h.Set(k, v)
		}
	}
	set(pd.HeaderPath, string(t.out.path))
	set(pd.HeaderReason, string(t.out.reason))
	set(pd.HeaderPrefill, t.out.prefill)
	set(pd.HeaderDecode, t.out.decode)
	var timing []string
	for _, leg := range []struct {
		name string
		took time.Duration
	}{{"prefill", t.out.prefillTook}, {"decode", t.out.decodeTook}} {
		if leg.took > 0 {
			timing = append(timing, fmt.Sprintf("%s;dur=%.1f", leg.name, milliseconds(leg.took)))
		}
	}
	set(pd.HeaderServerTiming, strings.Join(timing, ", "))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// finish counts the request and writes its one line. It runs in a defer, so
// that a relay that panics to drop the connection is counted as well.
func (t *trip) finish() {
	took := time.Since(t.req.started)
	t.s.metrics.Request(t.out.path, t.out.reason, t.out.code, took)
	kv := []any{
		"request_id", t.req.id, "endpoint", t.req.endpoint, "model", clip(t.req.model), "status", t.out.code,
		"path", t.out.path, "reason", t.out.reason, "prefill", t.out.prefill, "decode", t.out.decode,
		"prefill_ms", milliseconds(t.out.prefillTook), "decode_ms", milliseconds(t.out.decodeTook),
		"first_token_ms", milliseconds(t.out.firstToken), "total_ms", milliseconds(took),
		"attempts", t.out.attempts, "prefill_tries", t.out.prefillTries, "bytes", t.out.bytes,
	}
	if t.out.failure != "" {
		kv = append(kv, "failure", t.out.failure)
	}
	t.s.logger.Info("request", kv...)
}
