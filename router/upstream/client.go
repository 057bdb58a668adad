package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// idleTimeout is below vLLM's keep-alive of 5 s, so that it is us who close:
// a request on a connection that the server is closing is lost.
const idleTimeout = 4 * time.Second

// Error is a leg that brought no response.
type Error struct {
	// NotSent: no connection came about, so nobody saw the request.
	NotSent bool
	Err     error
}

func (e *Error) Error() string {
	if e.NotSent {
		return "connect: " + e.Err.Error()
	}
	return "send: " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Client sends requests to instances.
type Client struct {
	transport *http.Transport
}

// New makes a client; dialTimeout bounds connecting to an instance.
func New(dialTimeout time.Duration) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &Client{transport: &http.Transport{
		Proxy:               nil, // instances are never behind the environment's HTTP proxy
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		// HTTP/1.1 only: uvicorn has nothing else.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConns:        0, // bounded per host and by idleTimeout
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     idleTimeout,
		// A compressed stream could not be passed on event by event.
		DisableCompression: true,
		WriteBufferSize:    32 << 10,
		ReadBufferSize:     32 << 10,
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do sends one request and returns the response with its body unread. The
// error is the context's cause if ctx ended, else an *Error. header is taken
// over, not copied.
func (c *Client) Do(ctx context.Context, method, url string, header http.Header, body []byte) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Header = header
	resp, err := c.transport.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	op, isOp := errors.AsType[*net.OpError](err)
	return nil, &Error{NotSent: isOp && op.Op == "dial", Err: err}
}
