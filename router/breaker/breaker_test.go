package breaker

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

func pool(ids ...string) []*fleet.Instance {
	var out []*fleet.Instance
	for _, id := range ids {
		out = append(out, &fleet.Instance{ID: id, URL: "http://" + id})
	}
	return out
}

func ids(instances []*fleet.Instance) string {
	s := ""
	for _, i := range instances {
		s += i.ID
	}
	return s
}

func fail(b *Breakers, i *fleet.Instance, times int) {
	for range times {
		b.Sent(i)
		b.Ended(i, Bad)
	}
}

func TestBreaker_opensAfterFailuresInARow(t *testing.T) {
	b, all := New(Config{}), pool("a", "b", "c")
	fail(b, all[0], 4)
	b.Ended(all[0], Good)
	fail(b, all[0], 4)
	require.Equal(t, "abc", ids(b.Allowed(all)), "a success between them ends the row")
	require.True(t, b.Ended(all[0], Bad))
	require.Equal(t, "bc", ids(b.Allowed(all)))
	require.Equal(t, Open, b.State(all[0]))
}

func TestBreaker_opensAtAShareOfFailures(t *testing.T) {
	b, all := New(Config{}), pool("a", "b")
	for range 6 {
		b.Ended(all[0], Good)
		b.Ended(all[0], Bad)
	}
	require.Equal(t, Open, b.State(all[0]), "every second request fails, never five in a row")
}

func TestBreaker_oldFailuresDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := New(Config{}), pool("a", "b")
		for range 40 {
			b.Ended(all[0], Bad)
			b.Ended(all[0], Good)
			time.Sleep(20 * time.Second)
		}
		require.Equal(t, Closed, b.State(all[0]))
	})
}

func TestBreaker_triesAgainOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := New(Config{}), pool("a", "b")
		fail(b, all[0], 5)
		time.Sleep(5 * time.Second)
		require.Equal(t, HalfOpen, b.State(all[0]))
		require.Equal(t, "ab", ids(b.Allowed(all)))
		b.Sent(all[0])
		require.Equal(t, "b", ids(b.Allowed(all)), "its probe is under way")
		b.Ended(all[0], Unknown)
		require.Equal(t, "ab", ids(b.Allowed(all)), "a probe without an outcome is followed by another")
		b.Sent(all[0])
		b.Ended(all[0], Good)
		require.Equal(t, Closed, b.State(all[0]))
		require.Zero(t, b.open.Load())
	})
}

func TestBreaker_waitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := New(Config{}), pool("a", "b")
		fail(b, all[0], 5)
		for _, d := range []time.Duration{5, 10, 20, 40, 60, 60} {
			time.Sleep(d*time.Second - time.Millisecond)
			require.Equal(t, Open, b.State(all[0]), "%ds", d)
			time.Sleep(time.Millisecond)
			require.Equal(t, HalfOpen, b.State(all[0]))
			fail(b, all[0], 1)
		}
		time.Sleep(time.Minute)
		b.Ended(all[0], Good)
		fail(b, all[0], 5)
		time.Sleep(5 * time.Second)
		require.Equal(t, HalfOpen, b.State(all[0]), "and from the start again when it was well")
	})
}

func TestBreaker_neverEjectsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := New(Config{}), pool("a", "b", "c", "d", "e")
		for _, i := range all {
			fail(b, i, 5)
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, "abc", ids(b.Allowed(all)), "half of them at most, the latest failures first")
		require.Equal(t, "a", ids(b.Allowed(all[:1])))
		require.Equal(t, "a", ids(b.Allowed(all[:2])))
	})
}

func TestBreaker_lateOutcomesOfAnOpenOneChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := New(Config{}), pool("a", "b")
		fail(b, all[0], 5)
		time.Sleep(3 * time.Second)
		b.Ended(all[0], Bad) // was sent before
		b.Ended(all[0], Good)
		require.Equal(t, Open, b.State(all[0]))
		time.Sleep(2 * time.Second)
		require.Equal(t, HalfOpen, b.State(all[0]))
	})
}

func TestKeep_forgetsWhoLeft(t *testing.T) {
	b, all := New(Config{}), pool("a", "b")
	fail(b, all[0], 5)
	fail(b, all[1], 1)
	b.Keep(fleet.NewSnapshot(all[1:], time.Now()))
	require.Equal(t, Closed, b.State(all[0]))
	require.Len(t, b.m, 1)
	require.Zero(t, b.open.Load())
}

func TestBreaker_concurrently(t *testing.T) {
	b, all := New(Config{Open: time.Microsecond}), pool("a", "b", "c")
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for m := range 500 {
				allowed := b.Allowed(all)
				if len(allowed) == 0 {
					t.Error("nobody is left")
				}
				i := allowed[m%len(allowed)]
				b.Sent(i)
				b.Ended(i, Outcome((n+m)%3))
			}
		})
	}
	wg.Wait()
	for _, i := range all {
		b.Ended(i, Good)
	}
	require.GreaterOrEqual(t, b.open.Load(), int64(0))
}
