package telemetry

import (
	"strings"

	"github.com/armon/go-metrics"
	dto "github.com/prometheus/client_model/go"
)

// prefix of the router's own metrics. Go's are not sent: they are many, and a
// float32, which is what the sinks take, does not hold some of them.
const prefix = "pd_router"

// series is one name with its labels.
type series struct {
	key    []string
	labels []metrics.Label
	value  float64
}

// id tells a series from the others.
func (s series) id() string {
	parts := append([]string(nil), s.key...)
	for _, l := range s.labels {
		parts = append(parts, l.Value)
	}
	return strings.Join(parts, ".")
}

// sent is what was sent the last time. The zero sent is nothing.
type sent struct{ counters, gauges map[string]series }

// send sends the growth of each counter and the value of each gauge; of a
// histogram its count and its sum, both as counters. A gauge that is gone is
// sent as zero once, because statsd keeps the last value.
func (last sent) send(families []*dto.MetricFamily, to metrics.MetricSink) sent {
	now := read(families)
	for id, s := range now.counters {
		if grown := s.value - last.counters[id].value; grown != 0 {
			to.IncrCounterWithLabels(s.key, float32(grown), s.labels)
		}
	}
	for _, s := range now.gauges {
		to.SetGaugeWithLabels(s.key, float32(s.value), s.labels)
	}
	for id, s := range last.gauges {
		if _, there := now.gauges[id]; !there {
			to.SetGaugeWithLabels(s.key, 0, s.labels)
		}
	}
	return now
}

// read picks out what is sent.
func read(families []*dto.MetricFamily) sent {
	now := sent{map[string]series{}, map[string]series{}}
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), prefix+"_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			add := func(to map[string]series, name string, value float64) {
				s := series{[]string{prefix, name}, labels(m), value}
				to[s.id()] = s
			}
			switch {
			case m.GetCounter() != nil:
				add(now.counters, name, m.GetCounter().GetValue())
			case m.GetGauge() != nil:
				add(now.gauges, name, m.GetGauge().GetValue())
			case m.GetHistogram() != nil:
				add(now.counters, name+"_count", float64(m.GetHistogram().GetSampleCount()))
				add(now.counters, name+"_sum", m.GetHistogram().GetSampleSum())
			}
		}
	}
	return now
}

func labels(m *dto.Metric) []metrics.Label {
	var out []metrics.Label
	for _, l := range m.GetLabel() {
		out = append(out, metrics.Label{Name: l.GetName(), Value: part(l.GetValue())})
	}
	return out
}

// part is a label's value as a part of a statsd name. A name of an instance or
// a model could otherwise begin a level of its own, or a line of its own.
func part(value string) string {
	if value == "" {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, value)
}
