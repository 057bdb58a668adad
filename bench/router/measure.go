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

// settle is how long a router may need to put away what it knows of requests
// whose answers the client already has.
const settle = 20 * time.Millisecond

// slice measures one repetition of a cell: it warms up, waits until nothing is
// under way, and only then reads clocks.
func (b *bench) slice(ctx context.Context, r *peer.Running, cell traffic.Cell) (report.Figure, error) {
	var f report.Figure
	loop, err := load.NewLoop(r.Target, cell)
	if err != nil {
		return report.Figure{Fault: err.Error()}, nil
	}
	defer loop.Close()
	if warm := loop.Run(ctx, max(b.length/4, 100*time.Millisecond)); warm.Failed > 0 {
		return report.Figure{Fault: fmt.Sprintf("warming up: %v", warm.First)}, nil
	}
	time.Sleep(settle)
	if _, err := b.engines.ask("reset"); err != nil {
		return f, err
	}
	clock, err := readClock(r)
	if err != nil {
		return f, err
	}
	machine, err := readMachine()
	if err != nil {
		return f, err
	}
	got := loop.Run(ctx, b.length)
	if err := b.others.add(machine); err != nil {
		return f, err
	}
	time.Sleep(settle)
	used, err := clock.elapsed(r)
	if err != nil {
		return f, err
	}
	counts, err := b.engines.ask("counts")
	if err != nil {
		return f, err
	}
	if ctx.Err() != nil {
		return f, context.Cause(ctx)
	}
	f = figure(got, used)
	f.Fault = fault(got, counts, r.Plain)
	if tree, ok := r.Tree(); ok {
		rss, err := tree.RSS()
		if err != nil {
			return f, err
		}
		f.RSSMiB = mib(rss)
	}
	return f, nil
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

// clock is a reading of a peer's CPU clocks; empty for no process.
type clock map[int]time.Duration

func readClock(r *peer.Running) (clock, error) {
	tree, ok := r.Tree()
	if !ok {
		return nil, nil
	}
	return tree.CPU()
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
