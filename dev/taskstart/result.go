package taskstart

import (
	"fmt"
	"slices"
	"time"
)

// Result is what one run measured.
type Result struct {
	Machine Machine
	At      time.Time
	// Starts is how many starts of each driver were measured.
	Starts int
	// Ours and Theirs are the driver's and raw_exec's.
	Ours, Theirs Times
}

// Times are those of one driver's starts, each sorted.
type Times struct {
	// Exec is from Nomad's turning to the driver to the probe's first statement.
	Exec []time.Duration
	// Told is to Nomad's "Started" event.
	Told []time.Duration
}

// add sorts the starts into the result.
func (r *Result) add(starts []start, a asked) error {
	for _, s := range starts {
		at, ok := a.before(s.driver, s.probe)
		if !ok {
			return fmt.Errorf("a start of %s at %s: the agent's log has no %q before it", s.driver, s.probe, beforeDriver)
		}
		t := &r.Ours
		if s.driver == theirs {
			t = &r.Theirs
		}
		t.Exec = append(t.Exec, s.probe.Sub(at))
		t.Told = append(t.Told, s.started.Sub(at))
	}
	for _, list := range [][]time.Duration{r.Ours.Exec, r.Ours.Told, r.Theirs.Exec, r.Theirs.Told} {
		slices.Sort(list)
		if len(list) != r.Starts {
			return fmt.Errorf("%d starts measured, want %d", len(list), r.Starts)
		}
	}
	return nil
}

// quantile of a sorted list by the nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

const (
	median = 0.5
	p90    = 0.9
)

// ratio is the driver's quantile over raw_exec's.
func ratio(ours, theirs []time.Duration, q float64) float64 {
	return float64(quantile(ours, q)) / float64(quantile(theirs, q))
}

// Check is an error if the driver starts tasks slower than raw_exec does.
func (r *Result) Check() error {
	if x := ratio(r.Ours.Exec, r.Theirs.Exec, median); x > 1 {
		return fmt.Errorf("the driver starts a task slower than raw_exec: median %s, raw_exec's %s (%.2f of it; must be at most 1)",
			ms(quantile(r.Ours.Exec, median)), ms(quantile(r.Theirs.Exec, median)), x)
	}
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
