package h1

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeadline_isSetOnlyWhereItMatters(t *testing.T) {
	var d deadline
	now := time.Now()
	due := func(want time.Time, changed bool) {
		t.Helper()
		got, is := d.due()
		require.Equal(t, changed, is)
		require.True(t, want.Equal(got), "%v, not %v", got, want)
	}
	due(time.Time{}, false)
	d.within(now, time.Minute)
	due(now.Add(time.Minute), true)
	due(now.Add(time.Minute), false)
	d.within(now.Add(time.Minute/100), time.Minute)
	due(now.Add(time.Minute), false) // sooner by a little
	d.within(now.Add(time.Minute/50), time.Minute)
	due(now.Add(time.Minute/50+time.Minute), true)
	d.within(now, time.Minute)
	due(now.Add(time.Minute), true) // later than asked for is not allowed
	d.at(now.Add(time.Minute + time.Nanosecond))
	due(now.Add(time.Minute+time.Nanosecond), true)
	d.at(time.Time{})
	d.at(now)
	d.within(now, 0)
	due(time.Time{}, true)
	d.within(now, time.Hour)
	due(now.Add(time.Hour), true)
}
