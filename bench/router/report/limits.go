package report

import (
	"fmt"
	"slices"
	"strings"
)

// Peers as figures are kept under, and the cell of many streams.
const (
	direct     = "direct"
	nginx      = "nginx"
	vllmRouter = "vllm-router"
	sidecar    = "pd-sidecar"
	ours       = "pd-router"
	streams    = "streams"
)

// limit is what pd-router's CPU per request may be at most, as a multiple of a
// peer's. Aim is where it should be; zero for none.
type limit struct {
	kinds, conns string // "" for all
	of           string
	most, aim    float64
}

// limits says when the router is good enough. The first that fits a cell counts.
func limits() []limit {
	return []limit{
		{"", "1", vllmRouter, 0.6, 0},
		{"200B", "16 64 256", vllmRouter, 0.4, 0.25},
		{"16KiB", "16 64 256", vllmRouter, 0.45, 0.3},
		{"220KiB", "16 64 256", vllmRouter, 0.4, 0.25},
		{"sse", "16 64 256", vllmRouter, 0.35, 0},
		{"sse1ms", "16 64 256", vllmRouter, 1, 0.65},
		{"", "", sidecar, 0.25, 0},
		{"", "", nginx, 4, 0},
	}
}

const (
	addedLimit   = 150.0 // microseconds of p50 over a client of both legs, 200 B at one connection
	streamsLimit = 600.0 // MiB
)

// limitOf finds a cell's limit against a peer.
func limitOf(cell, peer string) (limit, bool) {
	kind, conns, _ := strings.Cut(cell, "-c")
	fits := func(list, one string) bool { return list == "" || slices.Contains(strings.Fields(list), one) }
	for _, l := range limits() {
		if l.of == peer && kind != streams && fits(l.kinds, kind) && fits(l.conns, conns) {
			return l, true
		}
	}
	return limit{}, false
}

// verdict is a ratio beside its limit, for a table.
func verdict(ratio float64, l limit) string {
	switch {
	case ratio > l.most:
		return fmt.Sprintf("**%.2f** (limit %.2f ✗)", ratio, l.most)
	case l.aim > 0 && ratio > l.aim:
		return fmt.Sprintf("%.2f (limit %.2f ✓, aim %.2f)", ratio, l.most, l.aim)
	case l.aim > 0:
		return fmt.Sprintf("%.2f (aim %.2f ✓)", ratio, l.aim)
	}
	return fmt.Sprintf("%.2f (limit %.2f ✓)", ratio, l.most)
}

// held counts the limits against a peer, and those that hold.
func (r *Run) held(peer string) (held, of int) {
	for _, c := range r.Cells {
		l, ok := limitOf(c.Name, peer)
		ratio := r.ratioOf(c.Name, ours, peer)
		if !ok || ratio == 0 {
			continue
		}
		if of++; ratio <= l.most {
			held++
		}
	}
	return held, of
}

// beyondTheFloor lists the limits that do not hold and that nginx, which does
// half as much, would not hold either.
func (r *Run) beyondTheFloor() (cells []string) {
	for _, c := range r.Cells {
		for _, peer := range []string{vllmRouter, sidecar} {
			l, ok := limitOf(c.Name, peer)
			if floor := r.ratioOf(c.Name, nginx, peer); ok && floor > l.most && r.ratioOf(c.Name, ours, peer) > l.most {
				cells = append(cells, fmt.Sprintf("%s, %.2f of %s's", title(c.Name), floor, peer))
			}
		}
	}
	return cells
}

// ratioOf is one peer's CPU per request as a multiple of another's, 0 if
// either is missing.
func (r *Run) ratioOf(cell, peer, of string) float64 {
	a, ok := r.Figure(cell, peer)
	b, ok2 := r.Figure(cell, of)
	if !ok || !ok2 || a.CPU == 0 || b.CPU == 0 {
		return 0
	}
	return a.CPU / b.CPU
}
