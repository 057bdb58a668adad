package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// bench is one run.
type bench struct {
	engines *engines
	peers   []peer.Peer
	dir     string        // for the peers' files
	reps    int           // repetitions of a cell
	length  time.Duration // of one repetition
	out     io.Writer     // progress
	begin   time.Time
	others  others
	running map[string]*peer.Running // by name

	profiles string // directory for profiles, "" for none
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "[%5.0fs] %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// run measures all cells.
func (b *bench) run(ctx context.Context, cells []traffic.Cell) ([]report.Cell, error) {
	b.running = map[string]*peer.Running{}
	defer func() {
		for _, r := range b.running {
			r.Stop()
		}
	}()
	for _, p := range b.peers {
		if err := b.start(ctx, p); err != nil {
			return nil, err
		}
		b.say("%s serves (%s)", p.Name, p.Version)
	}
	var done []report.Cell
	for n, cell := range cells {
		c, err := b.cell(ctx, cell, fmt.Sprintf("%d/%d %-12s", n+1, len(cells), cell.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cell.Name(), err)
		}
		done = append(done, c)
	}
	return done, nil
}

func (b *bench) start(ctx context.Context, p peer.Peer) error {
	r, err := p.Start(ctx, b.engines.at, b.dir)
	if err == nil {
		b.running[p.Name] = r
	}
	return err
}

// cell measures one cell. Peers take turns within each repetition, so that
// whatever else the machine does hits all of them alike.
func (b *bench) cell(ctx context.Context, cell traffic.Cell, progress string) (report.Cell, error) {
	figures := map[string][]report.Figure{}
	reps := b.reps
	if cell.Answer.Hold {
		reps = 1
	}
	for rep := range reps {
		for turn := range b.peers {
			p := b.peers[(turn+rep)%len(b.peers)] // nobody is always first
			f, err := b.one(ctx, p, cell)
			if err != nil {
				return report.Cell{}, fmt.Errorf("%s: %w", p.Name, err)
			}
			figures[p.Name] = append(figures[p.Name], f)
			b.say("%s %d/%d  %-12s %s", progress, rep+1, reps, p.Name, brief(f))
		}
	}
	c := report.Cell{Name: cell.Name(), Figures: map[string]report.Figure{}}
	for _, p := range b.peers {
		c.Figures[p.Name] = report.Median(figures[p.Name])
		if b.profiles == "" {
			continue
		}
		if err := b.profile(ctx, b.running[p.Name], cell, b.profiles); err != nil {
			return c, fmt.Errorf("profile %s: %w", p.Name, err)
		}
	}
	return c, nil
}

func (b *bench) one(ctx context.Context, p peer.Peer, cell traffic.Cell) (report.Figure, error) {
	if !cell.Answer.Hold {
		return b.slice(ctx, b.running[p.Name], cell)
	}
	// Memory of many streams is told apart from that of earlier cells.
	b.running[p.Name].Stop()
	delete(b.running, p.Name)
	if err := b.start(ctx, p); err != nil {
		return report.Figure{}, err
	}
	return b.streams(ctx, b.running[p.Name], cell)
}

func brief(f report.Figure) string {
	if f.Fault != "" {
		return "INVALID: " + f.Fault
	}
	if s := f.Streams; s != nil {
		return fmt.Sprintf("%d open, %d dropped, %.0f MiB, tokens p50 %.1f ms, p99 %.1f ms", s.Held, s.Dropped, f.RSSMiB, f.Token50/1000, f.Token99/1000)
	}
	return fmt.Sprintf("%6.0f us CPU, %6.0f req/s, p50 %.2f ms", f.CPU, f.PerSecond, f.P50/1000)
}
