package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
)

// Agents finds every agent or builds it, saying on out what it does.
func Agents(ctx context.Context, out io.Writer) (map[string]agents.Found, error) {
	say := printer{out}
	cache, err := agents.CacheDir()
	if err != nil {
		return nil, err
	}
	found := map[string]agents.Found{}
	for _, a := range agents.All() {
		f, err := a.Locate(ctx, cache)
		if errors.Is(err, agents.ErrNotInstalled) {
			say.line("%s %s is built from source, once: %s on two cores", a.Name, a.Pinned, a.Takes)
			f, err = a.Build(ctx, cache, buildProgress(say))
		}
		if err != nil {
			return nil, err
		}
		say.line("%-17s %-8s %s", f.Name, f.Version, f.Path)
		found[f.Name] = f
	}
	return found, nil
}

// buildProgress prints at most a line every five seconds, so that a log of a
// build that takes minutes can still be read.
func buildProgress(say printer) agents.Progress {
	var last time.Duration = -time.Hour
	return func(a agents.Agent, compiled, total int, elapsed time.Duration) {
		if elapsed-last < 5*time.Second && compiled < total {
			return
		}
		last = elapsed
		switch {
		case total == 0:
			say.line("%s: fetching modules", a.Name)
		case compiled >= total:
			say.line("%s: built in %s", a.Name, elapsed.Round(time.Second))
		default:
			say.line("%s: %s, %d of up to %d packages compiled", a.Name, elapsed.Round(time.Second), compiled, total)
		}
	}
}

// printer writes the demo's lines.
type printer struct{ out io.Writer }

// step announces a part.
func (p printer) step(format string, args ...any) {
	fmt.Fprintf(p.out, "==> "+format+"\n", args...)
}

// line writes one detail of the part.
func (p printer) line(format string, args ...any) {
	fmt.Fprintf(p.out, "    "+format+"\n", args...)
}

// timed writes a detail with the time since start before it.
func (p printer) timed(start time.Time, format string, args ...any) {
	p.line("%6.1fs  "+format, append([]any{time.Since(start).Seconds()}, args...)...)
}
