package h1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// conn is one client's connection.
//
//	idle -> head -> handler -> idle ...
//	  |       |        |
//	  +-------+--------+-> closed
type conn struct {
	s      *Server
	nc     net.Conn
	remote string
	id     uint32 // the watch's

	buf    []byte                    // read and not used yet; part of page
	page   []byte                    // nil while nothing is read
	head   int                       // how much of buf is the request's head
	fresh  atomic.Pointer[time.Time] // when it was accepted; nil once it has had a request
	state  atomic.Int32
	headBy time.Time // when the request's head must be there
	readBy deadline

	mu   sync.Mutex
	gone bool            // the client has closed its side
	ctx  *requestContext // of the request that is being served

	req    http.Request
	url    url.URL
	header http.Header
	values [maxOneLine]string // of header fields with one value each
	body   body
	w      response
}

// maxOneLine is how many header values come from a connection's own memory.
const maxOneLine = 32

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, remote: nc.RemoteAddr().String(), header: http.Header{}}
	c.w.c, c.w.header = c, http.Header{}
	now := time.Now()
	c.fresh.Store(&now)
	return c
}

// States of a connection. Only from idle may another goroutine close it.
const (
	idle int32 = iota
	active
	closed
)

// serve is the connection's goroutine.
func (c *conn) serve() {
	defer c.s.drop(c)
	defer c.givePage()
	for {
		err := c.readHead()
		if err == nil {
			err = c.parse()
		}
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.handle() {
			return
		}
		if !c.w.keep {
			c.linger()
			return
		}
		clear(c.header)
		clear(c.values[:])
	}
}

// readHead reads up to the end of a request's head, which is then the
// beginning of c.buf.
func (c *conn) readHead() error {
	if c.page == nil {
		c.page = c.s.pages.get()
		c.buf = c.page
	} else if len(c.buf) == 0 {
		c.buf = c.page[:0]
	}
	searched := 0
	for {
		if c.head = wire.EndOfHead(c.buf, searched); c.head > 0 {
			if !c.state.CompareAndSwap(idle, active) && c.state.Load() == closed {
				return io.EOF
			}
			return nil
		}
		searched = len(c.buf)
		if len(c.buf) >= c.s.MaxHeaderBytes {
			return errHeadTooLong
		}
		if err := c.fill(searched == 0); err != nil {
			return err
		}
	}
}

// fill reads more of a head.
func (c *conn) fill(first bool) error {
	if len(c.buf) == cap(c.buf) {
		larger := make([]byte, len(c.buf), max(pageSize, 2*len(c.buf)))
		copy(larger, c.buf)
		c.s.pages.put(c.page)
		c.page, c.buf = larger[:0], larger
	}
	now := time.Now()
	if first {
		c.headBy = time.Time{}
		if c.state.CompareAndSwap(active, idle); c.s.stopping.Load() && !c.s.patient.Load() && c.fresh.Load() == nil {
			return io.EOF
		}
		c.readBy.within(now, c.s.IdleTimeout)
	} else if c.headBy.IsZero() { // once: a client that sends byte by byte gets no more time
		c.headBy = now
		c.state.CompareAndSwap(idle, active)
		c.readBy.within(now, c.s.ReadHeaderTimeout)
	}
	n, err := c.read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// givePage lends the page to others while nothing is to be read.
func (c *conn) givePage() {
	if c.page != nil {
		c.s.pages.put(c.page)
		c.page, c.buf = nil, nil
	}
}

// read reads from the connection, until the time that readBy says.
func (c *conn) read(p []byte) (int, error) {
	if t, changed := c.readBy.due(); changed {
		if err := c.nc.SetReadDeadline(t); err != nil {
			return 0, err
		}
	}
	return c.nc.Read(p)
}

// handle runs the handler; false if the connection is at its end.
func (c *conn) handle() (alive bool) {
	ctx := &requestContext{}
	c.mu.Lock()
	c.ctx = ctx
	if c.gone {
		ctx.cancel()
	}
	c.mu.Unlock()
	c.fresh.Store(nil)
	c.w.begin(c.req.Method == http.MethodHead, c.req.ProtoMinor)
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				c.s.logf("handler panicked: %v\n%s", p, debug.Stack())
			}
			alive = false
		}
		c.mu.Lock()
		c.ctx = nil
		c.mu.Unlock()
		ctx.cancel()
	}()
	c.s.Handler.ServeHTTP(&c.w, c.req.WithContext(ctx))
	return c.w.finish() == nil
}

// clientGone ends the request that is being served. The watch calls it.
func (c *conn) clientGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.ctx != nil {
		c.ctx.cancel()
	}
}

// closeIfIdle ends the wait for a request that has not begun.
func (c *conn) closeIfIdle() {
	if since := c.fresh.Load(); since != nil && time.Since(*since) < freshTime {
		return
	}
	if c.state.CompareAndSwap(idle, closed) {
		_ = c.nc.Close()
	}
}

// refuse answers what is no request with what is wrong with it.
func (c *conn) refuse(err error) {
	var r *refusal
	if !errors.As(err, &r) {
		return // gone, silent for too long, or stopping
	}
	c.w.begin(false, 1)
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.WriteHeader(r.code)
	_, _ = io.WriteString(&c.w, http.StatusText(r.code)+": "+r.Error()+"\n")
	c.w.keep = false
	if c.w.finish() == nil {
		c.linger()
	}
}

// linger lets a client that is still sending read its answer: closing at once
// would reset the connection and take the answer away.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime)) // the last: readBy need not know
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)
