package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/front"
)

// defaultAdmin is where operators look unless they say otherwise.
const defaultAdmin = "127.0.0.1:8001"

// startAdmin serves operators until stop is called. A second router on the host
// finds the default address taken, which is no reason not to serve.
func startAdmin(ctx context.Context, address string, server *router.Server, logger hclog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := front.Listen(ctx, address)
	if err != nil && address == defaultAdmin {
		logger.Warn("no admin page: its default address is taken; set -admin", "address", address)
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("-admin: %w", err)
	}
	s := &http.Server{Handler: server.Admin(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	logger.Info("operators are served", "address", l.Addr().String())
	return func() { _ = s.Close() }, nil
}
