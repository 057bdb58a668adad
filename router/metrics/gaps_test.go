package metrics

import (
	"testing"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// BenchmarkPiece is what a piece of a stream costs besides the clock, which is
// read anyway, by the length of the gap.
func BenchmarkPiece(b *testing.B) {
	for _, gap := range []time.Duration{100 * time.Microsecond, 25 * time.Millisecond, 400 * time.Millisecond} {
		b.Run(gap.String(), func(b *testing.B) {
			b.ReportAllocs()
			m, g, at := New(func() View { return View{} }), Gaps{}, gap
			for b.Loop() {
				at += gap
				m.Piece(&g, at)
			}
		})
	}
}

// BenchmarkInterToken is what a request's end costs, of a stream whose gaps
// fell into three buckets.
func BenchmarkInterToken(b *testing.B) {
	b.ReportAllocs()
	m := New(func() View { return View{} })
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			g := Gaps{sum: time.Second}
			g.counts[3], g.counts[4], g.counts[7] = 1, 30, 2
			m.InterToken(pd.PathDisaggregated, &g)
		}
	})
}
