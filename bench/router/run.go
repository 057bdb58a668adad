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
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "[%5.0fs] %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// run measures all cells. Peers take turns within each repetition, so that
// whatever else the machine does hits all of them alike.
func (b *bench) run(ctx context.Context, cells []traffic.Cell) ([]report.Cell, error) {
	running := map[string]*peer.Running{}
	defer func() {
		for _, r := range running {
			r.Stop()
		}
	}()
	for _, p := range b.peers {
		r, err := p.Start(ctx, b.engines.at, b.dir)
		if err != nil {
			return nil, err
		}
		running[p.Name] = r
		b.say("%s serves (%s)", p.Name, p.Version)
	}
	var done []report.Cell
	for n, cell := range cells {
		figures := map[string][]report.Figure{}
		reps := b.reps
		if cell.Answer.Hold {
			reps = 1
		}
		for rep := range reps {
			for turn := range b.peers {
				p := b.peers[(turn+rep)%len(b.peers)] // nobody is always first
				f, err := b.one(ctx, running, p, cell)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %w", cell.Name(), p.Name, err)
				}
				figures[p.Name] = append(figures[p.Name], f)
				b.say("%d/%d %-12s %d/%d  %-12s %s", n+1, len(cells), cell.Name(), rep+1, reps, p.Name, brief(f))
			}
		}
		c := report.Cell{Name: cell.Name(), Figures: map[string]report.Figure{}}
		for name, reps := range figures {
			c.Figures[name] = report.Median(reps)
		}
		done = append(done, c)
	}
	return done, nil
}

func (b *bench) one(ctx context.Context, running map[string]*peer.Running, p peer.Peer, cell traffic.Cell) (report.Figure, error) {
	if !cell.Answer.Hold {
		return b.slice(ctx, running[p.Name], cell)
	}
	// Memory of many streams is told apart from that of earlier cells.
	running[p.Name].Stop()
	delete(running, p.Name)
	r, err := p.Start(ctx, b.engines.at, b.dir)
	if err != nil {
		return report.Figure{}, err
	}
	running[p.Name] = r
	return b.streams(ctx, r, cell)
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
