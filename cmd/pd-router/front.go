package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"

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
	maxHeaderBytes    = 64 << 10
)

// newFront serves plain HTTP/1.1 where the cheaper server can, and with
// net/http where it cannot (see docs/adr/0005-data-path.md).
func newFront(handler http.Handler, errors *log.Logger) frontServer {
	if h1.Supported {
		return &h1.Server{
			Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &netFront{cancel: cancel, Server: &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}}
}

// netFront is net/http's server.
type netFront struct {
	*http.Server
	cancel context.CancelFunc
}

// Cancel ends the context that all requests' contexts come from.
func (f *netFront) Cancel() { f.cancel() }
