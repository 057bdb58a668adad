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
	before, err := readClock(r)
	if err != nil {
		return report.Figure{}, err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	got, err := load.Streams(ctx, r.Target, cell, func() error {
		held, err := b.allHeld(ctx, cell.Conns)
		if err != nil {
			return err
		}
		s.Held, s.OpenMiB = held, memory()
		go func() { defer close(stopped); peak = watch(stop, memory) }()
		_, err = b.engines.ask("release")
		return err
	})
	close(stop)
	if err != nil {
		return report.Figure{}, err
	}
	<-stopped
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

// allHeld waits until the engines hold n streams, or no more come for 10 s.
func (b *bench) allHeld(ctx context.Context, n int) (int, error) {
	held, since := 0, time.Now()
	for held < n && time.Since(since) < 10*time.Second {
		c, err := b.engines.ask("counts")
		if err != nil {
			return 0, err
		}
		if c.Held > held {
			held, since = c.Held, time.Now()
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return held, nil
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
