package report

import (
	"slices"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
)

// Run is everything that one run measured.
type Run struct {
	Date    time.Time    `json:"date"`
	Commit  string       `json:"commit"`
	Machine proc.Machine `json:"machine"`
	// Others is the share of the machine that processes outside the benchmark
	// took, 0 to 1.
	Others      float64       `json:"others"`
	Repetitions int           `json:"repetitions"`
	Slice       time.Duration `json:"slice_ns"`
	Instances   int           `json:"instances"`
	Peers       []Peer        `json:"peers"`
	// Missing says which peers could not be measured, and why.
	Missing []string `json:"missing,omitempty"`
	Cells   []Cell   `json:"cells"`
}

// Peer is a router that was measured.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Cell is the figures of one kind of request at one number of connections.
type Cell struct {
	Name    string            `json:"name"`
	Figures map[string]Figure `json:"figures"` // by peer
}

// Figure is the median of a cell's repetitions for one peer. Times are
// microseconds. Zero means that there is none.
type Figure struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	// CPU is user and system time of the router's processes per request.
	CPU float64 `json:"cpu,omitempty"`
	// CPULow and CPUHigh are the least and the greatest of the repetitions.
	CPULow  float64 `json:"cpu_low,omitempty"`
	CPUHigh float64 `json:"cpu_high,omitempty"`
	// Token50 and Token99 are how long tokens took from engine to client.
	Token50 float64 `json:"token50,omitempty"`
	Token99 float64 `json:"token99,omitempty"`
	RSSMiB  float64 `json:"rss_mib,omitempty"`
	// Requests is how many were measured, in all repetitions.
	Requests int `json:"requests"`
	// Streams are figures of the cell with many open streams.
	Streams *Streams `json:"streams,omitempty"`
	// Fault says why the figures are not to be used: requests failed, or the
	// engines saw another protocol than they should.
	Fault string `json:"fault,omitempty"`
}

// Streams is what many open streams cost.
type Streams struct {
	Asked int `json:"asked"`
	// Held is how many the engines had open at once.
	Held int `json:"held"`
	// Dropped is how many did not arrive whole.
	Dropped int `json:"dropped"`
	// Late is the share of tokens that took longer than half a gap.
	Late float64 `json:"late"`
	// OpenMiB is resident memory with all streams open, before the first token.
	OpenMiB float64 `json:"open_mib"`
}

// Median joins the repetitions of a cell.
func Median(reps []Figure) Figure {
	middle := func(of func(Figure) float64) float64 {
		var v []float64
		for _, r := range reps {
			v = append(v, of(r))
		}
		slices.Sort(v)
		if n := len(v); n%2 == 0 {
			return (v[n/2-1] + v[n/2]) / 2
		}
		return v[len(v)/2]
	}
	f := Figure{
		PerSecond: middle(func(f Figure) float64 { return f.PerSecond }),
		P50:       middle(func(f Figure) float64 { return f.P50 }),
		P99:       middle(func(f Figure) float64 { return f.P99 }),
		CPU:       middle(func(f Figure) float64 { return f.CPU }),
		Token50:   middle(func(f Figure) float64 { return f.Token50 }),
		Token99:   middle(func(f Figure) float64 { return f.Token99 }),
		RSSMiB:    middle(func(f Figure) float64 { return f.RSSMiB }),
		CPULow:    reps[0].CPU, CPUHigh: reps[0].CPU, Streams: reps[0].Streams,
	}
	for _, r := range reps {
		f.CPULow, f.CPUHigh = min(f.CPULow, r.CPU), max(f.CPUHigh, r.CPU)
		f.Requests += r.Requests
		if f.Fault == "" {
			f.Fault = r.Fault
		}
	}
	return f
}

// Figure is a cell's figure of a peer, false if there is none to use.
func (r *Run) Figure(cell, peer string) (Figure, bool) {
	for _, c := range r.Cells {
		if c.Name == cell {
			f, ok := c.Figures[peer]
			return f, ok && f.Fault == ""
		}
	}
	return Figure{}, false
}

// streamCells are the cells of many streams.
func (r *Run) streamCells() (cells []Cell) {
	for _, c := range r.Cells {
		if strings.HasPrefix(c.Name, streams) {
			cells = append(cells, c)
		}
	}
	return cells
}
