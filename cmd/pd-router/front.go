package main

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/router/front"
	"github.com/nomad-vllm/nomad-vllm/router/h1"
)

// frontServer is what serves clients.
type frontServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	// Cancel ends the contexts of what is being served, not the connections.
	Cancel()
	Close() error
}

// Bounds of a connection and of a request's head.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// idleGrace covers a client that is about to use its idle connection when
	// the router stops.
	idleGrace      = time.Second
	maxHeaderBytes = 64 << 10
)

// certificate is how TLS is served, nil if it is not.
func certificate(set settings, logger hclog.Logger) (*tls.Config, error) {
	if set.certFile == "" {
		return nil, nil
	}
	c, err := front.LoadCertificate(set.certFile, set.keyFile, logger)
	if err != nil {
		return nil, err
	}
	return c.TLS(), nil
}

// takeOver gets the address from the router before this one, or listens
// itself. serving is to be called when requests are served, and gives the other
// one leave to stop.
func takeOver(ctx context.Context, set settings, logger hclog.Logger) (l *net.TCPListener, serving func(), err error) {
	serving = func() {}
	if set.takeover != "" {
		var served func() error
		if l, served, err = front.Take(set.takeover); err != nil {
			return nil, nil, err
		}
		serving = func() {
			if served == nil {
				return
			}
			if err := served(); err != nil {
				logger.Warn("the router before this one does not answer", "error", err)
			}
		}
	}
	if l != nil {
		logger.Info("taking over from the router before this one", "address", l.Addr().String())
		return l, serving, nil
	}
	l, err = front.Listen(ctx, set.listen)
	return l, serving, err
}

// newFront serves plain HTTP/1.1 where the cheaper server can, and with
// net/http where it cannot (see docs/adr/0005-data-path.md).
func newFront(handler http.Handler, secure *tls.Config, errors *log.Logger) frontServer {
	if h1.Supported && secure == nil {
		return &h1.Server{
			Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, IdleGrace: idleGrace, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &netFront{cancel: cancel, Server: &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
		TLSConfig:   secure,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}}
}

// netFront is net/http's server.
type netFront struct {
	*http.Server
	cancel context.CancelFunc
}

// Serve serves TLS, and HTTP/2 with it, if there is a certificate.
func (f *netFront) Serve(l net.Listener) error {
	if f.TLSConfig != nil {
		return f.Server.ServeTLS(l, "", "")
	}
	return f.Server.Serve(l)
}

// Cancel ends the context that all requests' contexts come from.
func (f *netFront) Cancel() { f.cancel() }
