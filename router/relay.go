package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

const (
	// pageSize is what a relay holds of an answer while nothing comes.
	pageSize = 4 << 10
	// fullSize is what it takes when more is there than that.
	fullSize = 64 << 10
)

// relay passes an answer on. From its first byte there is no way back.
func (t *trip) relay(ctx context.Context, a *answer) {
	defer a.close()
	t.freeBody()
	t.copyHeader(a.resp.Header)
	if n := a.length(); n >= 0 {
		t.w.Header()["Content-Length"] = t.one(strconv.FormatInt(n, 10))
	}
	if t.req.wantsReport {
		t.w.Header()[choose.ReportHeader] = t.one(a.resp.Header.Get(choose.ReportHeader))
	}
	t.setHeaders()
	t.out.code = a.resp.Status
	t.w.WriteHeader(a.resp.Status)
	readErr, writeErr := t.pump(a)
	_ = t.control.SetWriteDeadline(time.Time{}) // or the connection's next request would inherit it
	switch {
	case writeErr != nil:
		t.out.code, t.out.failure = statusClientGone, "client gone: "+writeErr.Error()
	case readErr != nil:
		t.cut(ctx, a, readErr)
	case a.stream && !t.req.passed && !t.watch.Over():
		t.cut(ctx, a, errHalfStream)
	}
}

// errHalfStream is a stream whose bytes ended in order, but not its events.
const errHalfStream = answerError("the stream ended without its last event")

// cut ends an answer that broke off under way. A stream gets the events with
// which its protocol reports an error; anything else can only be broken off.
func (t *trip) cut(ctx context.Context, a *answer, err error) {
	if ctx.Err() != nil && t.s.cutOff.Load() {
		t.breakOff(a, metrics.StreamStopped, errStopping())
		return
	}
	if ctx.Err() != nil {
		t.out.code, t.out.failure = statusClientGone, "client gone"
		return
	}
	a.went = breaker.Bad
	t.countFailure(ctx, t.legName(), err)
	t.s.logger.Warn("decode broke off", "request_id", t.req.id, "decode", t.out.decode, "path", t.out.path, "bytes", t.out.bytes, "error", err)
	kind, what := metrics.StreamCut, " broke off the answer"
	switch {
	case errors.Is(err, upstream.ErrDeadline):
		kind, what = metrics.StreamStalled, fmt.Sprintf(" has sent nothing for %s", t.s.cfg.StallTimeout)
	case errors.Is(err, errHalfStream):
		what = " ended the stream without its last event"
	}
	t.breakOff(a, kind, badGateway("decode instance "+t.out.decode+what))
}

// breakOff tells the client of a stream why it ends.
func (t *trip) breakOff(a *answer, kind string, e *apiError) {
	t.s.metrics.StreamFailure(kind)
	t.out.failure = e.Message
	if !a.stream {
		panic(http.ErrAbortHandler) // the way to make net/http drop the connection
	}
	typ, message := e.parts()
	_, _ = t.w.Write(t.watch.ErrorEvents(e.body(), typ, message)) // the client may be gone
}

// length is what the client can be told in advance, -1 if nothing.
func (a *answer) length() int64 {
	switch {
	case a.stream:
		return -1
	case a.whole:
		return int64(len(a.held))
	}
	return a.resp.Length
}

// pump copies the answer: what is there goes out in one write, and at once if
// more is to come, because a token that waits for the next one to fill a buffer
// is a late token. It holds one page, and a larger buffer only while more than
// a page comes at a time, so that an open stream costs little.
func (t *trip) pump(a *answer) (readErr, writeErr error) {
	now := time.Now()
	if err := t.send(a, a.held, now, !a.whole); err != nil || a.whole {
		return nil, err
	}
	if t.page == nil {
		t.newPage(pageSize)
	}
	stall := stallWatch{limit: t.s.cfg.StallTimeout}
	for {
		if err := stall.wait(a.resp, now); err != nil {
			return err, nil
		}
		n, err := a.resp.Read(t.page.B)
		now = time.Now()
		if err := t.send(a, t.page.B[:n], now, err == nil); err != nil {
			return nil, err
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		case n == len(t.page.B) && n < fullSize:
			t.newPage(fullSize)
		case n < pageSize && len(t.page.B) > pageSize:
			t.newPage(pageSize)
		}
	}
}

// stallWatch bounds each wait for more of an answer. The deadline is set anew
// only when a quarter of the limit has passed since, because that costs more
// than a token otherwise does; so a stall is noticed by up to that much sooner.
type stallWatch struct {
	limit time.Duration
	set   time.Time
}

func (w *stallWatch) wait(r *upstream.Response, now time.Time) error {
	if now.Sub(w.set) < w.limit/4 {
		return nil
	}
	w.set = now
	return r.SetDeadline(now.Add(w.limit))
}

// send writes a piece of the answer that came at that time; more if it is not
// known to be the last, which leaves with the answer's end.
func (t *trip) send(a *answer, piece []byte, now time.Time, more bool) error {
	if len(piece) == 0 {
		return nil
	}
	if a.stream && t.watch.Failed(piece) {
		t.s.metrics.StreamFailure(metrics.StreamLateError)
		t.out.failure = "the stream had an error event"
	}
	if a.stream && !t.req.passed {
		t.s.metrics.Piece(&t.gaps, now.Sub(t.req.started))
	}
	if now.Sub(t.writing) > t.s.cfg.WriteTimeout/4 {
		t.writing = now // as for stallWatch
		_ = t.control.SetWriteDeadline(now.Add(t.s.cfg.WriteTimeout))
		t.s.metrics.InterToken(t.out.path, &t.gaps) // a stream may last for an hour
	}
	var n int
	var err error
	if more && (a.stream || a.resp.Length < 0) {
		n, err = t.writeNow(piece)
	} else {
		n, err = t.w.Write(piece)
	}
	t.out.bytes += int64(n)
	return err
}

// writeNow writes a piece that is not to wait for the next one.
func (t *trip) writeNow(piece []byte) (int, error) {
	if w, ok := t.w.(interface{ WriteNow(p []byte) (int, error) }); ok { // h1's
		return w.WriteNow(piece)
	}
	n, err := t.w.Write(piece)
	if err == nil {
		err = t.control.Flush()
	}
	return n, err
}

func (t *trip) newPage(size int) {
	t.page.Free()
	t.page = t.s.memory.Get(size)
}

// relayAnswered passes on leg 1's verdict on the request itself.
func (t *trip) relayAnswered(a *answered) {
	t.copyHeader(a.header)
	t.w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	t.setHeaders()
	t.out.code = a.code
	t.w.WriteHeader(a.code)
	n, _ := t.w.Write(a.body)
	t.out.bytes = int64(n)
}

// one is a header's only value, in the trip's own memory. A server copies what
// it is given when the status is written, which every trip does before its end.
func (t *trip) one(v string) []string {
	if t.used == len(t.values) {
		return []string{v}
	}
	t.values[t.used] = v
	t.used++
	return t.values[t.used-1 : t.used : t.used]
}

// copyHeader takes over an instance's headers, but for those of its
// connection and those that are ours to set.
func (t *trip) copyHeader(from upstream.Header) {
	to := t.w.Header()
	for _, f := range from {
		switch f.Name {
		case pd.HeaderRequestID, pd.HeaderServerTiming, "Content-Length", "Date", choose.ReportHeader:
			continue
		}
		if !ownConnection(f.Name) && !strings.HasPrefix(f.Name, pd.HeaderPrefix) && !from.Named("Connection", f.Name) {
			if f.Name == "Access-Control-Allow-Origin" {
				delete(to, f.Name) // ours says the same, and twice is an error
			}
			if have := to[f.Name]; have != nil {
				to[f.Name] = append(have, f.Value)
			} else {
				to[f.Name] = t.one(f.Value)
			}
		}
	}
}

// setHeaders says how the request was served.
func (t *trip) setHeaders() {
	h := t.w.Header()
	set := func(k, v string) {
		if v != "" {
			h[k] = t.one(v) // the names are in canonical form
		}
	}
	set(pd.HeaderPath, string(t.out.path))
	set(pd.HeaderReason, string(t.out.reason))
	set(pd.HeaderPrefill, t.out.prefill)
	set(pd.HeaderDecode, t.out.decode)
	var room [64]byte
	timing := appendTiming(room[:0], "prefill", t.out.prefillTook)
	set(pd.HeaderServerTiming, string(appendTiming(timing, "decode", t.out.decodeTook)))
}

// appendTiming writes one leg of a Server-Timing header.
func appendTiming(b []byte, leg string, took time.Duration) []byte {
	if took <= 0 {
		return b
	}
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(b, leg...), ";dur="...)
	return strconv.AppendFloat(b, milliseconds(took), 'f', 1, 64)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// finish counts the request and writes its one line. It runs in a defer, so
// that a relay that panics to drop the connection is counted as well.
func (t *trip) finish() {
	took := time.Since(t.req.started)
	t.s.metrics.End()
	t.s.flows.saw(t.req.started.Add(took), &t.out, t.req.id)
	t.s.metrics.Request(t.out.path, t.out.reason, t.out.code, took)
	t.s.metrics.InterToken(t.out.path, &t.gaps)
	t.span.Set("pd.path", string(t.out.path))
	t.span.Set("pd.reason", string(t.out.reason))
	t.span.End(t.out.code, t.out.failure)
	t.writeLine(took)
	t.freeBody()
	t.page.Free()
	t.page = nil
	t.s.trips.Put(t)
}
