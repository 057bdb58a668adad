package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/h1"
)

// front is what serves clients.
type front interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
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
func newFront(handler http.Handler, errors *log.Logger) front {
	if h1.Supported {
		return &h1.Server{
			Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
		}
	}
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: errors,
	}
}
