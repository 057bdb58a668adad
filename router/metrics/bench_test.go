package metrics

import (
	"testing"
	"time"

	armon "github.com/armon/go-metrics"
	armonprom "github.com/armon/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// request is what the router counts of one that is served in two legs.
type request struct {
	name  string
	count func()
}

// requests are the ways to count one that docs/adr/0006-router-metrics.md compares.
func requests(b *testing.B) []request {
	const took = 40 * time.Millisecond
	m := New(func() View { return View{} })
	sink, err := armonprom.NewPrometheusSinkFrom(armonprom.PrometheusOpts{Registerer: prometheus.NewRegistry()})
	require.NoError(b, err)
	g, err := armon.New(&armon.Config{ServiceName: "pd_router", TimerGranularity: time.Millisecond, FilterDefault: true}, sink)
	require.NoError(b, err)
	label := func(name, value string) armon.Label { return armon.Label{Name: name, Value: value} }
	sample := func(name string, labels ...armon.Label) {
		g.AddSampleWithLabels([]string{name}, float32(took.Seconds()), labels)
	}
	return []request{
		{"client_golang", func() {
			m.Leg(LegPrefill, took)
			m.Leg(LegDecode, took)
			m.FirstToken(pd.PathDisaggregated, took)
			m.Request(pd.PathDisaggregated, "", 200, took)
		}},
		{"go-metrics", func() {
			sample("leg_duration_seconds", label("leg", LegPrefill))
			sample("leg_duration_seconds", label("leg", LegDecode))
			sample("time_to_first_token_seconds", label("path", string(pd.PathDisaggregated)))
			g.IncrCounterWithLabels([]string{"requests_total"}, 1, []armon.Label{
				label("path", string(pd.PathDisaggregated)), label("reason", ""), label("code", "200"),
			})
			sample("request_duration_seconds", label("path", string(pd.PathDisaggregated)))
		}},
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, r := range requests(b) {
		b.Run(r.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.count()
			}
		})
		b.Run(r.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					r.count()
				}
			})
		})
	}
}
