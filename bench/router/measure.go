package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
	"github.com/nomad-vllm/nomad-vllm/bench/router/load"
	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// slice measures one repetition of a cell: it warms up, waits until nothing is
// under way, and only then reads clocks.
func (b *bench) slice(ctx context.Context, r *peer.Running, cell traffic.Cell) (report.Figure, error) {
	loop, err := load.NewLoop(r.Target, cell)
	if err != nil {
		return report.Figure{Fault: err.Error()}, nil
	}
	defer loop.Close()
	if warm := loop.Run(ctx, max(b.length/4, 100*time.Millisecond)); warm.Failed > 0 {
		return report.Figure{Fault: fmt.Sprintf("warming up: %v", warm.First)}, nil
	}
	if _, err := b.engines.ask("reset"); err != nil {
		return report.Figure{}, err
	}
	var got load.Result
	used, err := b.cost(r, func() error {
		got = loop.Run(ctx, b.length)
		return context.Cause(ctx)
	})
	if err != nil {
		return report.Figure{}, err
	}
	counts, err := b.engines.ask("counts")
	if err != nil {
		return report.Figure{}, err
	}
	f := figure(got, used)
	f.Fault = fault(got, counts, r.Plain)
	f.RSSMiB, err = resident(r)
	return f, err
}

func figure(got load.Result, used time.Duration) report.Figure {
	f := report.Figure{
		PerSecond: float64(got.Requests) / got.Elapsed.Seconds(),
		P50:       micros(load.Quantile(got.Latencies, 0.5)),
		P99:       micros(load.Quantile(got.Latencies, 0.99)),
		Token50:   micros(load.Quantile(got.Delays, 0.5)),
		Token99:   micros(load.Quantile(got.Delays, 0.99)),
		Requests:  got.Requests,
	}
	if got.Requests > 0 {
		f.CPU = micros(used) / float64(got.Requests)
	}
	return f
}

// fault says why figures cannot be used, in short words, "" if they can.
func fault(got load.Result, counts engine.Counts, plain bool) string {
	n := int64(got.Requests)
	switch {
	case got.Failed > 0:
		return fmt.Sprintf("%d connections failed, the first with: %v", got.Failed, got.First)
	case n == 0:
		return "no request was finished"
	case counts.Wrong > 0:
		return fmt.Sprintf("%d requests broke the protocol, the first: %s", counts.Wrong, counts.First)
	case plain && (counts.Plain != n || counts.Prefill+counts.Decode != 0),
		!plain && (counts.Prefill != n || counts.Decode != n || counts.Plain != 0):
		return fmt.Sprintf("%d requests made %d prefills, %d decodes and %d plain requests", n, counts.Prefill, counts.Decode, counts.Plain)
	}
	return ""
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
