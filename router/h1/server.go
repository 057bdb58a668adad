package h1

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/socket"
)

// Server serves HTTP/1.1. Its fields are not to be changed once it serves.
type Server struct {
	Handler http.Handler
	// ReadHeaderTimeout bounds a request's head from its first byte on. Zero: no bound.
	ReadHeaderTimeout time.Duration
	// IdleTimeout bounds the wait for a request. Zero: no bound.
	IdleTimeout time.Duration
	// IdleGrace is how long idle connections stay open while the server stops: a
	// request that is on its way over one gets its answer, and with it that the
	// connection ends. Zero: they are closed at once, and such a request is lost.
	IdleGrace time.Duration
	// MaxHeaderBytes bounds a request's head, default 64 KiB.
	MaxHeaderBytes int
	// ErrorLog gets handlers' panics; nil for none.
	ErrorLog *log.Logger

	once     sync.Once
	watch    *watch
	watchErr error
	pages    pagePool
	date     atomic.Pointer[dateLine]

	mu        sync.Mutex
	stopping  atomic.Bool
	patient   atomic.Bool // stopping, and idle connections still have their grace
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	empty     chan struct{} // closed when stopping and the last connection is gone
}

const defaultMaxHeader = 64 << 10

// start makes what all connections share.
func (s *Server) start() error {
	s.once.Do(func() {
		if s.MaxHeaderBytes == 0 {
			s.MaxHeaderBytes = defaultMaxHeader
		}
		s.listeners, s.conns, s.empty = map[net.Listener]bool{}, map[*conn]bool{}, make(chan struct{})
		s.watch, s.watchErr = newWatch()
	})
	return s.watchErr
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if err := s.start(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.stopping.Load() { // before it had begun
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.listeners[l] = true
	s.mu.Unlock()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(nc)
		case s.stopping.Load():
			return http.ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // no descriptors left, most likely: some will be
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logf("accept: %v; trying again in %v", err, pause)
			time.Sleep(pause)
		}
	}
}

// take begins to serve a connection.
func (s *Server) take(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		if cheap, err := socket.New(tcp); err == nil {
			nc = cheap
		}
	}
	c := newConn(s, nc)
	s.mu.Lock()
	if s.stopping.Load() && !s.patient.Load() {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = true
	s.mu.Unlock()
	if err := s.watch.add(c); err != nil {
		s.logf("watch connection: %v", err)
		s.drop(c)
		return
	}
	go c.serve()
}

// drop closes and forgets a connection.
func (s *Server) drop(c *conn) {
	s.watch.remove(c)
	_ = c.nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.stopping.Load() && !s.patient.Load() && len(s.conns) == 0 {
		s.setEmpty()
	}
}

// setEmpty tells Shutdown; mu must be held.
func (s *Server) setEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Shutdown accepts nothing more, closes idle connections after their grace, and
// waits until the others have had their answers, or ctx ends. A connection that was accepted a
// moment ago has its first request on the way, and is given the time.
func (s *Server) Shutdown(ctx context.Context) error {
	s.patient.Store(s.IdleGrace > 0)
	s.stop()
	began := time.Now()
	tick := time.NewTicker(freshTime / 10)
	defer tick.Stop()
	for {
		if time.Since(began) >= s.IdleGrace {
			s.impatient()
			s.each((*conn).closeIfIdle)
		}
		select {
		case <-s.empty:
			s.watch.close()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// freshTime is how long a new connection may take to send its first request
// while the server stops.
const freshTime = 500 * time.Millisecond

// Close drops every connection.
func (s *Server) Close() error {
	s.stop()
	s.impatient()
	s.each(func(c *conn) { _ = c.nc.Close() })
	s.watch.close()
	return nil
}

// Cancel ends the contexts of the requests that are being served and leaves
// their connections open, so that handlers can still tell their clients why.
func (s *Server) Cancel() {
	s.each(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ctx != nil {
			c.ctx.cancel()
		}
	})
}

// stop closes the listeners.
func (s *Server) stop() {
	if s.start() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	if len(s.conns) == 0 && !s.patient.Load() {
		s.setEmpty()
	}
}

// impatient ends the grace of idle connections.
func (s *Server) impatient() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patient.CompareAndSwap(true, false) && len(s.conns) == 0 {
		s.setEmpty()
	}
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
	}
}

// dateLine is the Date header of one second.
type dateLine struct {
	second int64
	text   string
}

// dateNow is the Date header's line.
func (s *Server) dateNow(now time.Time) string {
	if d := s.date.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dateLine{second: now.Unix(), text: "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
	s.date.Store(d)
	return d.text
}

// pagePool lends the buffers that requests are read into.
type pagePool struct{ p sync.Pool }

const pageSize = 4 << 10

func (p *pagePool) get() []byte {
	if b, ok := p.p.Get().(*[pageSize]byte); ok {
		return b[:0]
	}
	return new([pageSize]byte)[:0]
}

// put takes back what get gave; a page that was outgrown is let go.
func (p *pagePool) put(b []byte) {
	if cap(b) == pageSize {
		p.p.Put((*[pageSize]byte)(b[:pageSize]))
	}
}
