package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/load"
	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// streams measures many streams that are open at once: all of them are opened,
// the router's memory is read, and then all of them speak.
func (b *bench) streams(ctx context.Context, r *peer.Running, cell traffic.Cell) (report.Figure, error) {
	if _, err := b.engines.ask("reset"); err != nil {
		return report.Figure{}, err
	}
	tree, some := r.Tree()
	memory := func() float64 {
		if !some {
			return 0
		}
		rss, err := tree.RSS()
		if err != nil {
			return 0 // it died; the dropped streams tell
		}
		return mib(rss)
	}
	var s report.Streams
	var peak float64
	others, err := readMachine()
	if err != nil {
		return report.Figure{}, err
	}
	before, err := readClock(r)
	if err != nil {
		return report.Figure{}, err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	got, err := load.Streams(ctx, r.Target, cell, b.engines, func(held int) {
		s.Held, s.OpenMiB = held, memory()
		go func() { defer close(stopped); peak = watch(stop, memory) }()
	})
	close(stop)
	if err != nil {
		return report.Figure{}, err
	}
	<-stopped
	if err := b.others.add(others); err != nil {
		return report.Figure{}, err
	}
	used, err := before.elapsed(r)
	if err != nil {
		return report.Figure{Fault: err.Error()}, nil
	}
	s.Asked, s.Dropped = cell.Conns, got.Failed
	late := 0
	for _, d := range got.Delays {
		if d > cell.Answer.Gap/2 {
			late++
		}
	}
	f := figure(got, used)
	f.PerSecond, f.RSSMiB, f.Streams = 0, peak, &s
	if len(got.Delays) > 0 {
		s.Late = float64(late) / float64(len(got.Delays))
	}
	if got.Failed > 0 {
		b.say("%s: %d streams dropped, the first with: %v", r.Name, got.Failed, got.First)
	}
	return f, nil
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

// elapsed is what the peer has used since the reading.
func (c clock) elapsed(r *peer.Running) (time.Duration, error) {
	now, err := readClock(r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.Name, err)
	}
	used, err := proc.Between(c, now)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.Name, err)
	}
	return used, nil
}
