package telemetry

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// interval is that of HashiCorp's agents, and statsd's own.
	interval = 10 * time.Second
	// written is when a sink has written what it was given: it does so every
	// 100 ms, and throws away at its end what it still holds.
	written = 250 * time.Millisecond
)

// Run sends what is gathered until ctx ends, and then once more.
func Run(ctx context.Context, s Settings, from prometheus.Gatherer, logger hclog.Logger) {
	run(ctx, s, from, logger, interval)
}

func run(ctx context.Context, s Settings, from prometheus.Gatherer, logger hclog.Logger, every time.Duration) {
	to, err := s.open()
	defer to.Shutdown()
	if err != nil {
		logger.Error("no telemetry", "error", err)
		return
	}
	var last sent
	send := func() {
		families, err := from.Gather()
		if err != nil { // the rest of them is there
			logger.Warn("metrics cannot all be read", "error", err)
		}
		last = last.send(families, to)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			send()
		case <-ctx.Done():
			send()
			<-time.After(written)
			return
		}
	}
}
