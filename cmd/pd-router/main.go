// Command pd-router takes OpenAI requests in and serves each in two legs, the
// prompt by a prefill instance and the answer by a decode instance of vLLM. It
// finds the instances in Consul, or takes fixed addresses.
//
// Four goroutines run besides the HTTP server's own: the HTTP server, the Consul watch
// (one more per service name inside it), the roster of what the instances serve,
// and main, which waits for a signal and then stops them. -admin adds one, a
// server of its own; -statsd-address and -statsite-address add one for both, and
// one for each in go-metrics.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/front"
	"github.com/nomad-vllm/nomad-vllm/router/trace"
)

// version is the router's version; the build may set it with -ldflags -X.
var version = "0.1.0-dev"

// Exit codes.
const (
	exitOK     = 0 // stopped by a signal, everything finished
	exitFailed = 1 // could not start, or requests had to be cut off at the end
	exitUsage  = 2 // the settings are wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, stop, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the command: it serves until ctx ends, then finishes what runs.
// release gives signals back their usual effect, so that a second one kills.
func run(ctx context.Context, release func(), args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	set, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "pd-router: wrong settings:\n%s\n", indent(err))
		return exitUsage
	case set.version:
		fmt.Fprintln(stdout, "pd-router", version)
		return exitOK
	}
	log := newLines(stderr)
	defer log.Flush()
	logger := hclog.New(&hclog.LoggerOptions{
		Name: "pd-router", Level: hclog.LevelFromString(set.logLevel), JSONFormat: set.logJSON, Output: log,
	})
	source, watch, err := newSource(set, logger)
	if err != nil {
		fmt.Fprintf(stderr, "pd-router: wrong settings:\n%s\n", indent(err))
		return exitUsage
	}
	set.router.Source, set.router.Logger, set.router.LogFields = source, logger, set.logJSON
	if set.router.Tracer, err = trace.New(set.trace); err != nil {
		fmt.Fprintf(stderr, "pd-router: wrong settings:\n%s\n", indent(err))
		return exitUsage
	}
	defer closeTracer(ctx, set.router.Tracer)
	server, err := router.New(set.router)
	if err != nil {
		fmt.Fprintf(stderr, "pd-router: wrong settings:\n%s\n", indent(err))
		return exitUsage
	}
	defer server.Close()
	defer startTelemetry(ctx, set.telemetry, server, logger)()
	stopAdmin, err := startAdmin(ctx, set.admin, server, logger)
	if err != nil {
		logger.Error("cannot serve operators", "error", err)
		return exitFailed
	}
	defer stopAdmin()
	secure, err := certificate(set, logger)
	if err != nil {
		logger.Error("cannot serve TLS", "error", err)
		return exitFailed
	}
	listener, serving, err := takeOver(ctx, set, logger)
	if err != nil {
		logger.Error("cannot listen", "address", set.listen, "error", err)
		return exitFailed
	}
	logger.Info("listening", "address", listener.Addr().String(), "version", version)
	heap := steadyHeap()
	defer runtime.KeepAlive(heap)
	again := func() (settings, error) { return parse(args, getenv, io.Discard) }
	defer onHangup(func() { set = reload(set, again, server, logger) })()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if set.takeover != "" {
		stopOffer, err := front.Offer(set.takeover, listener, func() {
			logger.Info("another router has taken over")
			stop()
		})
		if err != nil {
			logger.Error("cannot be taken over from", "error", err)
			return exitFailed
		}
		defer stopOffer()
	}
	clients := newFront(server.Handler(), secure, logger.Named("http").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}))
	return serve(ctx, release, server, clients, listener, serving, watch, set.drainTimeout, logger)
}

// onHangup calls f at each SIGHUP until stop is called.
func onHangup(f func()) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangups {
			f()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

// newSource is where instances come from, and what must run to keep it fresh.
func newSource(set settings, logger hclog.Logger) (router.Source, func(context.Context) error, error) {
	if len(set.prefill)+len(set.decode) > 0 {
		snapshot, err := fleet.Static(set.prefill, set.decode)
		if err != nil {
			return nil, nil, err
		}
		logger.Info("instances are fixed", "prefill", len(set.prefill), "decode", len(set.decode))
		return fleet.NewFixed(snapshot), func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	consul, err := fleet.NewConsul(fleet.ConsulConfig{Address: set.consulAddr, Services: set.services}, logger)
	if err != nil {
		return nil, nil, err
	}
	logger.Info("instances come from consul", "address", consul.Address(), "services", consul.Services())
	return consul, consul.Run, nil
}

// closeTracer sends what is left of the traces.
func closeTracer(ctx context.Context, t *trace.Tracer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = t.Close(ctx) // a collector that is away costs spans
}

// lastWords is how long clients that are cut off have to take in why.
const lastWords = time.Second

// serve runs the server, the watch and the roster until ctx ends, then stops them.
func serve(ctx context.Context, release func(), server *router.Server, clients frontServer, listener net.Listener, serving func(), watch func(context.Context) error,
	drain time.Duration, logger hclog.Logger) int {
	// Both outlive ctx: requests that are being finished may still need another instance.
	watchCtx, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	var watched sync.WaitGroup
	watched.Go(func() { _ = watch(watchCtx) })
	watched.Go(func() { _ = server.Run(watchCtx) })
	defer func() { stopWatch(); watched.Wait() }()

	failed := make(chan error, 1)
	go func() { failed <- clients.Serve(listener) }()
	serving()
	select {
	case err := <-failed:
		logger.Error("server stopped", "error", err)
		return exitFailed
	case <-ctx.Done():
	}
	release()
	server.Drain()
	logger.Info("stopping: finishing requests in flight", "drain_timeout", drain)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := clients.Shutdown(limit); err != nil {
		logger.Warn("requests were still running at the drain timeout; cutting them off", "drain_timeout", drain)
		server.CutOff()
		clients.Cancel()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		_ = clients.Shutdown(last)
		_ = clients.Close()
		return exitFailed
	}
	logger.Info("stopped")
	return exitOK
}
