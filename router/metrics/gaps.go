package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// gapBuckets is how many bounds there are.
const gapBuckets = 18

// gapBounds are the upper bounds of the buckets. Most are where a model's step
// is, 10 to 100 ms.
func gapBounds() (bounds [gapBuckets]time.Duration) {
	for n, ms := range [gapBuckets]float64{1, 2.5, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10000} {
		bounds[n] = time.Duration(ms * float64(time.Millisecond))
	}
	return bounds
}

// Gaps are the times between the pieces of one stream, counted where nobody
// else writes: an atomic operation for each token would cost more than the rest
// of what is counted for it. The zero Gaps is ready.
type Gaps struct {
	last   time.Duration
	sum    time.Duration
	counts [gapBuckets + 1]uint32 // the last is of what is over every bound
}

// Piece notes that a stream had a piece so long after its request. There is no
// gap before the first.
func (m *Metrics) Piece(g *Gaps, at time.Duration) {
	if g.last == 0 {
		g.last = at
		return
	}
	gap, n := at-g.last, 0
	for n < gapBuckets && gap > m.gaps.bounds[n] {
		n++
	}
	g.counts[n]++
	g.sum += gap
	g.last = at
}

// InterToken takes in the gaps that a stream has had, and leaves g to count the
// next ones.
func (m *Metrics) InterToken(path pd.Path, g *Gaps) {
	if g.sum == 0 {
		return
	}
	to := m.gaps.paths[path]
	for n, count := range g.counts {
		if count > 0 {
			to.counts[n].Add(uint64(count))
		}
	}
	to.sum.Add(int64(g.sum))
	*g = Gaps{last: g.last}
}

// interToken are histograms, by path, that Gaps can be added to; client_golang's
// own take one observation at a time.
type interToken struct {
	desc   *prometheus.Desc
	bounds [gapBuckets]time.Duration
	paths  map[pd.Path]*gapCounts
}

type gapCounts struct {
	sum    atomic.Int64 // nanoseconds
	counts [gapBuckets + 1]atomic.Uint64
}

func newInterToken() *interToken {
	return &interToken{
		desc: prometheus.NewDesc("pd_router_inter_token_seconds",
			"Time between two pieces of a stream; a piece is what was there at one read, mostly one token.", []string{"path"}, nil),
		bounds: gapBounds(),
		paths:  map[pd.Path]*gapCounts{pd.PathDisaggregated: {}, pd.PathLocal: {}},
	}
}

// Describe is for the registry.
func (t *interToken) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

// Collect makes each bucket hold those below it, as Prometheus wants it.
func (t *interToken) Collect(ch chan<- prometheus.Metric) {
	for path, h := range t.paths {
		buckets, count := make(map[float64]uint64, gapBuckets), uint64(0)
		for n, bound := range t.bounds {
			count += h.counts[n].Load()
			buckets[bound.Seconds()] = count
		}
		count += h.counts[gapBuckets].Load()
		ch <- prometheus.MustNewConstHistogram(t.desc, count, time.Duration(h.sum.Load()).Seconds(), buckets, string(path))
	}
}
