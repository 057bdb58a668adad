package main

import (
	"context"
	"log"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/telemetry"
)

// startTelemetry sends the metrics on until stop is called, which waits for the
// last of them; ctx's end does not stop it, because requests are still being
// finished then.
func startTelemetry(ctx context.Context, to telemetry.Settings, server *router.Server, logger hclog.Logger) (stop func()) {
	if !to.On() {
		return func() {}
	}
	logger = logger.Named("telemetry")
	// go-metrics has no other place for its errors.
	before := log.Writer()
	log.SetOutput(logger.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true, InferLevelsWithTimestamp: true}))
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); telemetry.Run(ctx, to, server.Metrics(), logger) }()
	return func() {
		cancel()
		<-done
		log.SetOutput(before)
	}
}
