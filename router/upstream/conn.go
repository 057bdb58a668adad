package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/socket"
	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// conn is one connection to an instance. One goroutine uses it at a time; only
// close may come from another.
type conn struct {
	nc   net.Conn
	tcp  *socket.Conn // what nc is, or runs over; nil in tests without one
	host *host

	opened    time.Time // when it was dialed
	reused    bool      // it has carried a request before
	idleSince time.Time // while in the pool
	deadline  time.Time // as set on nc; zero: none
	sent      uint64    // bytes written since it was opened
	answered  uint64    // of these, the bytes of requests that were answered
	pieces    [][]byte  // room for a vectored write
	hangUp    func()    // close, made once
}

func (cn *conn) close() { _ = cn.nc.Close() }

// smallBody is what is copied behind the head rather than sent as pieces of
// its own: a few pages cost less to copy than to describe.
const smallBody = 4 << 10

// headPool lends buffers for the heads of requests and responses.
type headPool struct{ p sync.Pool }

const headSize = 4 << 10

func (h *headPool) get() *[]byte {
	if b, ok := h.p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, headSize)
	return &b
}

func (h *headPool) put(b *[]byte) {
	if cap(*b) > 4*headSize {
		return // a rare large head must not stay for ever
	}
	*b = (*b)[:0]
	h.p.Put(b)
}

// exchange sends a request and reads the response's head. On an error the
// connection is of no further use; the caller closes it.
func (cn *conn) exchange(ctx context.Context, r *Request, maxHead int) (*Response, *Error) {
	stop := afterFunc(ctx, cn.hangUp)
	if err := cn.setDeadline(r.Deadline, r.Slack); err != nil {
		stop()
		return nil, &Error{NotSent: true, Err: err}
	}
	whole, sendErr := cn.send(r)
	// Even a server that hung up on the request may have said why before.
	resp, err := readResponse(cn, r.Method, maxHead)
	if err == nil {
		resp.stop = stop
		resp.keep = resp.keep && whole
		return resp, nil
	}
	stop()
	if sendErr != nil && !errors.Is(err, wire.ErrMalformed) {
		err = sendErr
	}
	return nil, &Error{NotSent: !whole, Err: err}
}

// afterFunc is context.AfterFunc, without what that makes around a context that
// has the method itself.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(interface {
		AfterFunc(f func()) (stop func() bool)
	}); ok {
		return c.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// setDeadline bounds the exchange by t, or by up to slack sooner: an earlier
// request's deadline stays if it is near enough.
func (cn *conn) setDeadline(t time.Time, slack time.Duration) error {
	if t.Equal(cn.deadline) || !t.IsZero() && !cn.deadline.IsZero() && t.After(cn.deadline) && t.Sub(cn.deadline) < slack {
		return nil
	}
	cn.deadline = t
	return cn.nc.SetDeadline(t)
}

// send writes head and body in one go; whole if every byte was taken.
func (cn *conn) send(r *Request) (whole bool, err error) {
	length := 0
	for _, p := range r.Body {
		length += len(p)
	}
	lent := cn.host.heads.get()
	defer cn.host.heads.put(lent)
	head := cn.appendHead(*lent, r, length)
	*lent = head
	want := len(head) + length
	var n int64
	if length <= smallBody {
		for _, p := range r.Body {
			head = append(head, p...)
		}
		*lent = head
		var m int
		m, err = cn.nc.Write(head)
		n = int64(m)
	} else {
		cn.pieces = append(append(cn.pieces[:0], head), r.Body...)
		n, err = socket.WriteParts(cn.nc, cn.pieces...)
		clear(cn.pieces) // an idle connection must hold no request's body
	}
	cn.sent += uint64(n)
	return n == int64(want), err
}

func (cn *conn) appendHead(b []byte, r *Request, length int) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, cn.host.prefix...)
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, cn.host.authority...)
	b = append(b, "\r\n"...)
	b = append(b, r.Header...)
	if length > 0 || r.Method == "POST" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(length), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// unseen reports whether the failed exchange's request cannot have been read by
// anybody: the server had closed the idle connection, and its system has not
// acknowledged one byte of the request. That is certain only if the connection
// ended in order: the server's FIN acknowledges all that had arrived when it
// closed. A reset proves nothing.
func (cn *conn) unseen(err error) bool {
	if !errors.Is(err, errNoResponse) {
		return false
	}
	acked, ok := cn.acknowledged()
	// The handshake itself may count as one byte; a request is never that short.
	return ok && acked <= cn.answered+1
}

// quiet reports whether an idle connection is still open and silent. One that
// the server has closed, or has said something on that nobody asked for (408
// before closing, or an attack), is not.
func (cn *conn) quiet() bool {
	if cn.tcp == nil {
		return true
	}
	open, silent := cn.tcp.Quiet()
	return silent || open && cn.host.tls // TLS speaks for itself: session tickets may lie there
}

// errNoResponse: the connection ended in order before the first byte of a response.
var errNoResponse = errors.New("connection closed without a response")

// read reads from the connection into p.
func (cn *conn) read(p []byte) (int, error) {
	n, err := cn.nc.Read(p)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // the next read says it again
	}
	return n, err
}
