package h1

import (
	"net/http"
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/socket"
	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// response is an http.ResponseWriter. What a handler writes is held until it
// flushes, ends, or has written more than a page, so that head and answer leave
// together.
type response struct {
	c      *conn
	header http.Header

	status   int // 0: not said yet
	headOnly bool
	minor    int
	sent     bool  // the head is
	chunked  bool  // how the answer is framed, once sent
	length   int64 // as the handler said, -1 if it did not
	written  int64 // of the answer, by the handler
	keep     bool  // the connection may go on
	timed    bool  // the handler has set a write deadline
	err      error // the connection's; nothing more can be sent

	head    []byte // without framing, from WriteHeader on
	pending []byte // of the answer, not sent yet
	out     []byte // room to put a message together
}

// holdMost is how much of an answer waits for the rest of it.
const holdMost = 4 << 10

// begin makes the writer another request's.
func (w *response) begin(headOnly bool, minor int) {
	clear(w.header)
	if w.timed { // it was the last request's; if it cannot be lifted, writing will say so
		_ = w.c.nc.SetWriteDeadline(time.Time{})
	}
	*w = response{
		c: w.c, header: w.header, headOnly: headOnly, minor: minor, length: -1, keep: true,
		head: w.head[:0], pending: w.pending[:0], out: w.out[:0],
	}
}

// Header is what WriteHeader will send.
func (w *response) Header() http.Header { return w.header }

// WriteHeader fixes status and header. Only the first call counts.
func (w *response) WriteHeader(code int) {
	if w.status != 0 || code < 200 { // interim responses are not for the router to send
		return
	}
	w.status = code
	w.keep = !w.c.req.Close && w.c.body.done && !hasToken(w.header["Connection"], "close")
	b := append(w.head[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(append(append(b, ' '), http.StatusText(code)...), "\r\n"...)
	for name, values := range w.header {
		switch name {
		case "Connection", "Transfer-Encoding", "Date":
			continue
		case "Content-Length":
			if n, err := wire.ContentLength(values[0]); err == nil {
				w.length = n
			}
			continue
		}
		for _, v := range values {
			if wire.IsToken(name) && wire.IsValue(v) {
				b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
			}
		}
	}
	w.head = append(b, w.c.s.dateNow(time.Now())...)
}

// bodiless reports whether the status, or the question, forbids an answer.
func (w *response) bodiless() bool {
	return w.headOnly || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Write takes a piece of the answer.
func (w *response) Write(p []byte) (int, error) {
	if err := w.take(p); err != nil {
		return 0, err
	}
	var err error
	switch {
	case w.headOnly:
	case len(w.pending)+len(p) <= holdMost:
		w.pending = append(w.pending, p...)
	default:
		err = w.send(p, false)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteNow is Write and FlushError in one, and copies once less.
func (w *response) WriteNow(p []byte) (int, error) {
	if w.headOnly || len(p) == 0 {
		return len(p), w.FlushError()
	}
	err := w.take(p)
	if err == nil {
		err = w.send(p, false)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// take counts a piece, if the answer has room for it.
func (w *response) take(p []byte) error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case w.headOnly:
		return nil
	case w.bodiless():
		return http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return http.ErrContentLength
	}
	w.written += int64(len(p))
	return nil
}

// FlushError sends what is held; http.ResponseController finds it.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.sent && len(w.pending) == 0 {
		return w.err
	}
	return w.send(nil, false)
}

// Flush is FlushError for those who do not ask.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline bounds reading the request's body.
func (w *response) SetReadDeadline(t time.Time) error {
	w.c.body.timeless = true // it is the handler's now
	w.c.readBy.at(t)
	return nil
}

// SetWriteDeadline bounds writing the answer; the next request starts without.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.timed = !t.IsZero()
	return w.c.nc.SetWriteDeadline(t)
}

// send writes what is held and then p; last if the answer ends there.
func (w *response) send(p []byte, last bool) error {
	if w.err != nil {
		return w.err
	}
	b := w.out[:0]
	if !w.sent {
		b = w.frame(append(b, w.head...), int64(len(w.pending)+len(p)), last)
		w.sent = true
	}
	if w.headOnly {
		w.pending = w.pending[:0]
	}
	size := len(w.pending) + len(p)
	if w.chunked && size > 0 {
		b = append(strconv.AppendInt(b, int64(size), 16), "\r\n"...)
	}
	b = append(b, w.pending...)
	tail := ""
	switch {
	case !w.chunked:
	case size > 0 && last:
		tail = "\r\n0\r\n\r\n"
	case size > 0:
		tail = "\r\n"
	case last:
		tail = "0\r\n\r\n"
	}
	w.pending = w.pending[:0]
	var err error
	if len(p) <= holdMost {
		b = append(append(b, p...), tail...)
		_, err = w.c.nc.Write(b)
	} else { // a large piece is sent from where it lies
		at := len(b)
		b = append(b, tail...)
		_, err = socket.WriteParts(w.c.nc, b[:at], p, b[at:])
	}
	w.out = b
	if w.err = err; err != nil {
		w.c.clientGone() // whoever works for the client may stop
	}
	return err
}

// frame ends the head with how long the answer is. size is what there is of it.
func (w *response) frame(b []byte, size int64, last bool) []byte {
	switch {
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
	case w.length < 0 && last && !w.headOnly:
		w.length = size
		fallthrough
	case w.length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
	case w.headOnly:
	case w.minor == 0:
		w.keep = false
	default:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.c.s.stopping.Load() {
		w.keep = false
	}
	if !w.keep {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

// finish ends the answer.
func (w *response) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.sent || w.chunked || len(w.pending) > 0 {
		if err := w.send(nil, true); err != nil {
			return err
		}
	}
	if w.length > w.written && !w.bodiless() {
		return http.ErrContentLength // the client must see that it is cut
	}
	if cap(w.out) > 4*holdMost {
		w.out = nil // an idle connection is to hold little
	}
	return w.err
}
