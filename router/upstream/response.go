package upstream

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// max1xx is how many interim responses are passed over.
const max1xx = 5

// framing is how the end of a body is told.
type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// Response is an instance's answer. One goroutine uses it; its fields are its
// own and stay valid after Close.
type Response struct {
	Status int
	Header Header
	// Length of the body in bytes, -1 if only its end will tell.
	Length int64
	// Connected is when the connection that it came over was opened.
	Connected time.Time

	cn    *conn
	stop  func() bool // ends the watch over the request's context
	keep  bool        // the connection may be used again
	by    framing
	left  int64 // byLength: bytes to come
	parts wire.Chunks
	err   error // what the next Read says

	lent   *[]byte // the head's buffer, while early lies in it
	early  []byte  // of the body: what came with the head
	fields [12]Field
}

// readResponse reads the head of the response to a request of the given method.
func readResponse(cn *conn, method string, maxHead int) (*Response, error) {
	r := &Response{cn: cn, lent: cn.host.heads.get(), Connected: cn.opened}
	err := r.readHead(method, maxHead)
	if err != nil {
		r.giveBack()
		return nil, err
	}
	if len(r.early) == 0 {
		r.giveBack()
	}
	return r, nil
}

// readHead reads up to the final response's head; what follows it is early.
func (r *Response) readHead(method string, maxHead int) error {
	buf := (*r.lent)[:0]
	searched, interim := 0, 0
	for {
		if end := wire.EndOfHead(buf, searched); end > 0 {
			h, err := parseHead(string(buf[:end]), r.fields[:0])
			if err != nil {
				return err
			}
			if h.status >= 200 {
				r.early = buf[end:]
				return r.begin(h, method)
			}
			if interim++; h.status == http.StatusSwitchingProtocols || interim > max1xx {
				return wire.Malformed("interim response that nobody asked for")
			}
			buf = append(buf[:0], buf[end:]...)
			searched = 0
			continue
		}
		searched = len(buf)
		if len(buf) >= maxHead {
			return wire.Malformed("head too long")
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
			*r.lent = buf
		}
		n, err := r.cn.read(buf[len(buf):min(cap(buf), maxHead)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return headError(err, len(buf) == 0 && interim == 0)
		}
	}
}

func headError(err error, nothing bool) error {
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case nothing:
		return errNoResponse
	}
	return io.ErrUnexpectedEOF
}

// begin sets the body up.
func (r *Response) begin(h head, method string) error {
	r.Status, r.Header = h.status, h.header
	r.keep = h.minor == 1 && !h.header.Named("Connection", "close")
	switch {
	case method == http.MethodHead, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		r.Length, r.err = 0, io.EOF
	case h.chunked:
		r.Length, r.by = -1, byChunks
	case h.length >= 0:
		r.Length, r.left = h.length, h.length
		if h.length == 0 {
			r.err = io.EOF
		}
	default:
		r.Length, r.by, r.keep = -1, byClose, false
	}
	if r.err != nil && len(r.early) > 0 {
		r.keep = false // bytes that belong to no response
	}
	return nil
}

// Read hands out what of the body is there, waiting only if nothing is. The
// error after the last byte is io.EOF; io.ErrUnexpectedEOF is a body that was cut.
func (r *Response) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.raw(p)
		if n > 0 {
			n = r.take(p[:n])
		}
		if r.err == nil && err != nil {
			r.err = r.ended(err)
		}
		if n > 0 || r.err != nil {
			return n, r.err
		}
	}
}

// raw is the next bytes of the connection.
func (r *Response) raw(p []byte) (int, error) {
	if len(r.early) == 0 {
		return r.cn.read(p)
	}
	n := copy(p, r.early)
	if r.early = r.early[n:]; len(r.early) == 0 {
		r.giveBack()
	}
	return n, nil
}

// take turns raw bytes into the body's, in place, and notices its end.
func (r *Response) take(p []byte) int {
	n := len(p)
	used := n
	switch r.by {
	case byClose:
		return n
	case byLength:
		n = int(min(int64(n), r.left))
		used = n
		if r.left -= int64(n); r.left == 0 {
			r.err = io.EOF
		}
	case byChunks:
		var err error
		if n, used, err = r.parts.Decode(p); err != nil {
			r.err = err
		} else if r.parts.Done() {
			r.err = io.EOF
		}
	}
	if used < len(p) || r.err != nil && len(r.early) > 0 {
		r.keep = false // more than was asked for: nothing after it can be trusted
	}
	return n
}

// ended is what the connection's error means for the body.
func (r *Response) ended(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrDeadline
	case !errors.Is(err, io.EOF):
		return err
	case r.by == byClose:
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// Discard has Close drop the connection, whatever state it is in.
func (r *Response) Discard() { r.keep = false }

// SetDeadline replaces the request's Deadline for what is still to come of the
// body; zero: none.
func (r *Response) SetDeadline(t time.Time) error { return r.cn.setDeadline(t, 0) }

// Close ends the exchange. The connection is used again if the body was read
// to its end, and closed otherwise, upon which vLLM aborts the request.
func (r *Response) Close() {
	if r.cn == nil {
		return
	}
	whole := errors.Is(r.err, io.EOF)
	r.giveBack()
	cn := r.cn
	r.cn, r.early, r.err = nil, nil, errClosed
	// A deadline may stay: the next request sets its own.
	if !r.stop() || !whole || !r.keep {
		cn.close()
		cn.host.end()
		return
	}
	cn.answered = cn.sent
	cn.host.put(cn)
}

// errClosed is what a read after Close gets.
var errClosed = errors.New("response is closed")

// giveBack returns the head's buffer.
func (r *Response) giveBack() {
	if r.lent != nil {
		r.cn.host.heads.put(r.lent)
		r.lent = nil
	}
}
