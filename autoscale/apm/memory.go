package apm

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/nomad-autoscaler/sdk"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
)

const (
	// keepFor bounds how long a window can reach back, and how long a query
	// or an instance that is gone is remembered.
	keepFor = time.Hour
	// keepMost bounds the points of one query and the samples of one instance.
	keepMost = 512
)

// memory is what one query leaves for the next ones.
type memory struct {
	mu sync.Mutex
	// points of each query. Without them (after a restart) a window holds the
	// newest point only.
	points map[string][]sdk.TimestampedMetric
	// samples of each instance's transfer counters, by instance ID. Without
	// them (an instance seen for the first time) its average since it started
	// stands in, which is exact for a new instance.
	samples map[string][]sample
}

// sample is an instance's transfer counters at one time.
type sample struct {
	at time.Time
	transfers
}

func newMemory() *memory {
	return &memory{points: map[string][]sdk.TimestampedMetric{}, samples: map[string][]sample{}}
}

// addPoint remembers a query's newest point and returns all of those since
// from, the newest included even if it lies outside.
func (m *memory) addPoint(q signal.Query, from time.Time, p sdk.TimestampedMetric) sdk.TimestampedMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := q.String()
	m.points[key] = keep(append(m.points[key], p))
	for k, points := range m.points {
		if p.Timestamp.Sub(points[len(points)-1].Timestamp) > keepFor {
			delete(m.points, k)
		}
	}
	var window sdk.TimestampedMetrics
	for _, old := range m.points[key] {
		if !old.Timestamp.Before(from) && old != p {
			window = append(window, old)
		}
	}
	return append(window, p)
}

// addSample remembers an instance's transfer counters and returns the time
// and the number of the transfers that it completed since from (or since the
// sample just before it).
func (m *memory) addSample(id string, from time.Time, s sample) (seconds, count float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples[id] = keep(append(m.samples[id], s))
	for k, samples := range m.samples {
		if s.at.Sub(samples[len(samples)-1].at) > keepFor {
			delete(m.samples, k)
		}
	}
	return since(m.samples[id], from)
}

// since adds up what happened after the last sample that is not younger than
// from, or after the oldest one. A single sample counts from the start of its
// counters.
func since(samples []sample, from time.Time) (seconds, count float64) {
	base := 0
	for n, s := range samples[:len(samples)-1] {
		if !s.at.After(from) {
			base = n
		}
	}
	last := transfers{}
	if len(samples) > 1 {
		last, samples = samples[base].transfers, samples[base+1:]
	}
	for _, s := range samples {
		if s.restarted(last) {
			last = transfers{} // what it counts now, it counted since its start
		}
		seconds += s.seconds - last.seconds
		count += s.count - last.count
		last = s.transfers
	}
	return seconds, count
}

// restarted tells whether counters began anew after they had shown last: an
// instance keeps its ID when its task restarts in place.
func (t transfers) restarted(last transfers) bool {
	return t.count < last.count || t.seconds < last.seconds || t.created != last.created
}

// keep drops the oldest beyond the bound.
func keep[T any](all []T) []T {
	if len(all) > keepMost {
		return slices.Clone(all[len(all)-keepMost:])
	}
	return all
}
