package main

import (
	"context"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/load"
	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// streams measures many streams that are open at once: all of them are opened,
// the router's memory is read, and then all of them speak.
func (b *bench) streams(ctx context.Context, r *peer.Running, cell traffic.Cell) (report.Figure, error) {
	if _, err := b.engines.ask("reset"); err != nil {
		return report.Figure{}, err
	}
	memory := func() float64 {
		v, err := resident(r)
		if err != nil {
			return 0 // it died; the dropped streams tell
		}
		return v
	}
	s := report.Streams{Asked: cell.Conns}
	var got load.Result
	var peak float64
	used, err := b.cost(r, func() error {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() { defer close(stopped); peak = watch(stop, memory) }()
		defer func() { close(stop); <-stopped }()
		var err error
		got, err = load.Streams(ctx, r.Target, cell, b.engines, func(held int) { s.Held, s.OpenMiB = held, memory() })
		return err
	})
	if err != nil {
		return report.Figure{}, err
	}
	if got.Failed > 0 {
		b.say("%s: %d streams dropped, the first with: %v", r.Name, got.Failed, got.First)
	}
	s.Dropped, s.Late = got.Failed, late(got.Delays, cell.Answer.Gap/2)
	f := figure(got, used)
	f.PerSecond, f.RSSMiB, f.Streams = 0, peak, &s
	return f, nil
}

// late is the share of delays over a limit.
func late(delays []time.Duration, limit time.Duration) float64 {
	n := 0
	for _, d := range delays {
		if d > limit {
			n++
		}
	}
	return float64(n) / float64(max(1, len(delays)))
}

// watch reads a value four times a second until stop, and returns the greatest.
func watch(stop <-chan struct{}, value func() float64) float64 {
	greatest := value()
	for {
		select {
		case <-stop:
			return max(greatest, value())
		case <-time.After(250 * time.Millisecond):
			greatest = max(greatest, value())
		}
	}
}
