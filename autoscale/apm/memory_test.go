package apm

import (
	"testing"
	"time"

	"github.com/hashicorp/nomad-autoscaler/sdk"
	"github.com/stretchr/testify/require"
)

// at is a number of seconds after some start.
func at(seconds float64) time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestSince_countsWhatHappenedInTheWindow(t *testing.T) {
	at10 := sample{at(10), transfers{seconds: 1, count: 10, created: 5}}
	at20 := sample{at(20), transfers{seconds: 3, count: 20, created: 5}}
	at30 := sample{at(30), transfers{seconds: 9, count: 40, created: 5}}
	same := sample{at(40), at30.transfers}
	restarted := sample{at(40), transfers{seconds: 0.5, count: 2, created: 35}}
	overtaken := sample{at(40), transfers{seconds: 50, count: 90, created: 35}}
	unmarked := sample{at(40), transfers{seconds: 0.5, count: 2}}
	for name, c := range map[string]struct {
		samples        []sample
		from           time.Time
		seconds, count float64
	}{
		"first sight: since the start":              {[]sample{at30}, at(0), 9, 40},
		"two samples":                               {[]sample{at10, at20}, at(0), 2, 10},
		"only those since the window opened":        {[]sample{at10, at20, at30}, at(20), 6, 20},
		"the sample just before the window":         {[]sample{at10, at20, at30}, at(25), 6, 20},
		"a window younger than the newest":          {[]sample{at10, at20, at30}, at(31), 6, 20},
		"nothing happened":                          {[]sample{at30, same}, at(35), 0, 0},
		"restart: all since its start":              {[]sample{at20, at30, restarted}, at(20), 6.5, 22},
		"restart that overtook the old counters":    {[]sample{at30, overtaken}, at(30), 50, 90},
		"restart without a start time":              {[]sample{{at(30), transfers{seconds: 9, count: 40}}, unmarked}, at(30), 0.5, 2},
		"restart inside of a window with both ends": {[]sample{at10, at30, restarted, {at(50), transfers{seconds: 1, count: 4, created: 35}}}, at(10), 9, 34},
	} {
		t.Run(name, func(t *testing.T) {
			seconds, count := since(c.samples, c.from)
			require.InDelta(t, c.seconds, seconds, 1e-9)
			require.InDelta(t, c.count, count, 1e-9)
		})
	}
}

func TestMemory_pointsWithinTheWindowNewestLast(t *testing.T) {
	m := newMemory()
	q, other := query(t, "queue_depth/prefill/pd"), query(t, "queue_depth/decode/pd")
	point := func(s, v float64) sdk.TimestampedMetric { return sdk.TimestampedMetric{Timestamp: at(s), Value: v} }

	require.Equal(t, sdk.TimestampedMetrics{point(0, 1)}, m.addPoint(q, at(-60), point(0, 1)))
	require.Equal(t, sdk.TimestampedMetrics{point(0, 1), point(10, 2)}, m.addPoint(q, at(-50), point(10, 2)))
	require.Equal(t, sdk.TimestampedMetrics{point(11, 9)}, m.addPoint(other, at(-50), point(11, 9)))
	require.Equal(t, sdk.TimestampedMetrics{point(10, 2), point(20, 3)}, m.addPoint(q, at(5), point(20, 3)))
	require.Equal(t, sdk.TimestampedMetrics{point(30, 4)}, m.addPoint(q, at(40), point(30, 4)), "an instant query gets the fresh point")
}

func TestMemory_isBounded(t *testing.T) {
	m := newMemory()
	q, gone := query(t, "queue_depth/prefill/pd"), query(t, "queue_depth/decode/pd")
	m.addPoint(gone, at(0), sdk.TimestampedMetric{Timestamp: at(0)})
	m.addSample("gone", at(0), sample{at: at(0)})
	for n := range 2 * keepMost {
		s := 10 * float64(n+1)
		m.addPoint(q, at(s), sdk.TimestampedMetric{Timestamp: at(s)})
		m.addSample("here", at(s), sample{at: at(s)})
	}
	require.Len(t, m.points, 1)
	require.Len(t, m.samples, 1)
	require.Len(t, m.points[q.String()], keepMost)
	require.Len(t, m.samples["here"], keepMost)
}
