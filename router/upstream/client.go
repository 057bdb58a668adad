package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/socket"
)

// Config is what a Client is made of.
type Config struct {
	// DialTimeout bounds connecting to an instance, the TLS handshake
	// included. Zero: no bound but the request's own.
	DialTimeout time.Duration
	// TLS is used for https instances; nil for the system's certificates. The
	// server name is the host of the instance's URL, unless it is set here.
	TLS *tls.Config
	// MaxHead is the largest response head in bytes, default 64 KiB.
	MaxHead int
}

// DefaultMaxHead is the largest response head that is accepted by default.
const DefaultMaxHead = 64 << 10

// Client sends requests to instances.
type Client struct {
	cfg    Config
	dialer net.Dialer
	heads  headPool

	mu    sync.RWMutex
	hosts map[string]*host // by base URL
}

// New makes a client; it does no I/O.
func New(cfg Config) *Client {
	if cfg.MaxHead == 0 {
		cfg.MaxHead = DefaultMaxHead
	}
	return &Client{cfg: cfg, dialer: net.Dialer{KeepAlive: 15 * time.Second}, hosts: map[string]*host{}}
}

// Close drops idle connections; those in use end with their requests.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.closeIdle(time.Time{})
	}
}

// Request is one request to an instance.
type Request struct {
	Method string
	// Base is the instance's URL: scheme, host and maybe a path prefix.
	Base string
	// Path follows Base's; it may carry a query.
	Path string
	// Header is the header lines, each with its line end, as AppendHeader
	// makes them; without Host, Content-Length and Connection.
	Header []byte
	// Body is sent piece after piece from where it lies. It is not changed,
	// and not read any more once Do has returned.
	Body [][]byte
	// Deadline ends the whole exchange, the response's body included. Zero: none.
	Deadline time.Time
	// Slack is by how much the Deadline may come too soon. Each change of a
	// connection's costs a hundredth of a request, and most are alike.
	Slack time.Duration
}

// Error is a request that brought no response.
type Error struct {
	// NotSent: nobody saw the whole request. No connection came about, or it
	// ended before the last byte was sent or reached the instance.
	NotSent bool
	Err     error
}

func (e *Error) Error() string {
	if e.NotSent {
		return "not sent: " + e.Err.Error()
	}
	return "send: " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// ErrDeadline is the error of a request that met its Deadline.
var ErrDeadline = errors.New("deadline exceeded")

// Do sends one request and returns the response with its body unread; the
// caller closes it. The error is the context's cause if ctx ended, ErrDeadline
// if the request's own time was over, else an *Error.
//
// A request goes out once. The only one that is sent again is one that nobody
// can have read because its connection, an idle one, was closed: see conn.unseen.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	h, err := c.host(r.Base)
	if err != nil {
		return nil, &Error{NotSent: true, Err: err}
	}
	cn := h.begin()
	for {
		if cn == nil {
			var err error
			if cn, err = c.dial(ctx, h, r.Deadline); err != nil {
				h.end()
				return nil, reason(ctx, r, &Error{NotSent: true, Err: err})
			}
		}
		resp, err := cn.exchange(ctx, r, c.cfg.MaxHead)
		if err == nil {
			return resp, nil
		}
		again := cn.reused && (err.NotSent || cn.unseen(err.Err))
		cn.close()
		if !again || ctx.Err() != nil {
			h.end()
			if errors.Is(err.Err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				return nil, ErrDeadline
			}
			return nil, reason(ctx, r, err)
		}
		cn = nil // the pool's others are as old: take a fresh one
	}
}

// reason prefers the context's or the deadline's end to what it made of the
// connection.
func reason(ctx context.Context, r *Request, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !r.Deadline.IsZero() && !time.Now().Before(r.Deadline) {
		return ErrDeadline
	}
	return err
}

// host is the pool of one base URL, made at its first request.
func (c *Client) host(base string) (*host, error) {
	c.mu.RLock()
	h := c.hosts[base]
	c.mu.RUnlock()
	if h != nil {
		return h, nil
	}
	h, err := newHost(base)
	if err != nil {
		return nil, err
	}
	h.heads = &c.heads
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.hosts[base]; known != nil {
		return known, nil
	}
	c.forgetIdleHosts()
	c.hosts[base] = h
	return h, nil
}

// forgetIdleHosts drops the pools of instances that nobody talks to, so that
// years of new addresses do not add up. It runs when a new one appears.
func (c *Client) forgetIdleHosts() {
	for base, h := range c.hosts {
		if h.unused() {
			delete(c.hosts, base)
		}
	}
}

// newHost reads a base URL.
func newHost(base string) (*host, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || strings.ContainsAny(base, " \r\n\t") {
		return nil, fmt.Errorf("instance address %q is no URL", base)
	}
	h := &host{authority: u.Host, prefix: strings.TrimRight(u.EscapedPath(), "/"), name: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
	case "https":
		h.tls = true
		if port == "" {
			port = "443"
		}
	default:
		return nil, fmt.Errorf("instance address %q: scheme %q; want http or https", base, u.Scheme)
	}
	h.addr = net.JoinHostPort(u.Hostname(), port)
	return h, nil
}

// dial opens a connection.
func (c *Client) dial(ctx context.Context, h *host, deadline time.Time) (*conn, error) {
	if c.cfg.DialTimeout > 0 {
		if limit := time.Now().Add(c.cfg.DialTimeout); deadline.IsZero() || limit.Before(deadline) {
			deadline = limit
		}
	}
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	nc, err := c.dialer.DialContext(ctx, "tcp", h.addr)
	if err != nil {
		return nil, err
	}
	cn := &conn{nc: nc, host: h, opened: time.Now()}
	cn.hangUp = cn.close
	if tcp, ok := nc.(*net.TCPConn); ok {
		if cn.tcp, err = socket.New(tcp); err != nil {
			_ = nc.Close()
			return nil, err
		}
		nc, cn.nc = cn.tcp, cn.tcp
	}
	if !h.tls {
		return cn, nil
	}
	secure := tls.Client(nc, c.tlsConfig(h))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	cn.nc = secure
	return cn, nil
}

// tlsConfig speaks HTTP/1.1 only: uvicorn has nothing else.
func (c *Client) tlsConfig(h *host) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.cfg.TLS != nil {
		cfg = c.cfg.TLS.Clone()
	}
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ServerName == "" {
		cfg.ServerName = h.name
	}
	return cfg
}
