package admit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// entry is one Enter that runs in its own goroutine.
type entry struct {
	release func()
	err     error
	done    bool
}

// enter begins one and lets it come as far as it comes.
func enter(ctx context.Context, q *Queue, k *Key, p Priority) *entry {
	e := &entry{}
	go func() {
		e.release, e.err = q.Enter(ctx, k, p)
		e.done = true
	}()
	synctest.Wait()
	return e
}

func (e *entry) admitted() bool { return e.done && e.err == nil }

// leave gives its place back and lets the next come as far as they come.
func (e *entry) leave() { e.release(); synctest.Wait() }

func key(name string) *Key { return &Key{Name: name, Priority: High} }

func rejected(t *testing.T, e *entry) *Rejected {
	t.Helper()
	r, ok := errors.AsType[*Rejected](e.err)
	require.True(t, ok, "%v", e.err)
	require.GreaterOrEqual(t, r.RetryAfter, time.Second)
	require.LessOrEqual(t, r.RetryAfter, time.Minute)
	return r
}

func TestQueue_runsSoManyAndTheRestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 2, MaxWaiting: 1}, nil)
		k := key("a")
		first, second, third := enter(t.Context(), q, k, Normal), enter(t.Context(), q, k, Normal), enter(t.Context(), q, k, Normal)
		require.True(t, first.admitted())
		require.True(t, second.admitted())
		require.False(t, third.done)
		running, waiting := q.Depth()
		require.Equal(t, []int{2, 1}, []int{running, waiting})

		fourth := enter(t.Context(), q, k, Normal)
		r := rejected(t, fourth)
		require.Equal(t, http.StatusServiceUnavailable, r.Code)
		require.Equal(t, QueueFull, r.Reason)
		require.Equal(t, "the router is full: 2 requests run and 1 wait", r.Message)

		first.leave()
		require.True(t, third.admitted())
		second.leave()
		third.leave()
		running, waiting = q.Depth()
		require.Equal(t, []int{0, 0}, []int{running, waiting})
	})
}

func TestQueue_waitsNoLongerThanTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1, MaxWait: 5 * time.Second}, nil)
		first := enter(t.Context(), q, key("a"), Normal)
		late := enter(t.Context(), q, key("a"), Normal)
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, WaitedTooLong, rejected(t, late).Reason)
		first.leave()
		require.True(t, enter(t.Context(), q, key("a"), Normal).admitted(), "who gave up does not take a place")
	})
}

func TestQueue_whoLeavesWhileWaitingIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1}, nil)
		first := enter(t.Context(), q, key("a"), Normal)
		gone := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		second := enter(ctx, q, key("a"), Normal)
		third := enter(t.Context(), q, key("a"), Normal)
		cancel(gone)
		synctest.Wait()
		require.ErrorIs(t, second.err, gone)
		first.leave()
		require.True(t, third.admitted())
	})
}

// order lets everything that waits in, one after the other, and says who came when.
func order(q *Queue, first *entry, waiting map[string]*entry, steps int) (got []string) {
	leave := first
	for range steps {
		leave.leave()
		for name, e := range waiting {
			if e.admitted() {
				got, leave = append(got, name), e
				delete(waiting, name)
			}
		}
	}
	return got
}

func TestQueue_isFairBetweenKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1}, nil)
		first := enter(t.Context(), q, key("x"), Normal)
		waiting := map[string]*entry{}
		for n := range 3 {
			waiting[fmt.Sprint("greedy", n)] = enter(t.Context(), q, key("greedy"), Normal)
		}
		waiting["modest0"] = enter(t.Context(), q, key("modest"), Normal)
		waiting["other0"] = enter(t.Context(), q, key("other"), Normal)
		require.Equal(t, []string{"greedy0", "modest0", "other0", "greedy1", "greedy2"}, order(q, first, waiting, 5))
	})
}

func TestQueue_priorityFirstButNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1}, nil)
		first := enter(t.Context(), q, key("x"), Normal)
		waiting := map[string]*entry{"low": enter(t.Context(), q, key("l"), Low), "normal": enter(t.Context(), q, key("n"), Normal)}
		for n := range 12 {
			waiting[fmt.Sprint("high", n)] = enter(t.Context(), q, key("h"), High)
		}
		got := order(q, first, waiting, 14)
		require.Equal(t, "high0", got[0])
		require.Equal(t, []string{"low", "normal"}, got[8:10], "after %d others: %v", patience, got)
	})
}

func TestQueue_keyCannotGoAboveItsPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1}, nil)
		first := enter(t.Context(), q, key("x"), Normal)
		waiting := map[string]*entry{"low": enter(t.Context(), q, &Key{Name: "l", Priority: Low}, High)}
		waiting["normal"] = enter(t.Context(), q, key("n"), Normal)
		require.Equal(t, []string{"normal", "low"}, order(q, first, waiting, 2))
	})
}

func TestQueue_keysHaveLimitsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 10}, nil)
		small := &Key{Name: "small", Priority: High, MaxRunning: 1, MaxWaiting: 1}
		first, second := enter(t.Context(), q, small, Normal), enter(t.Context(), q, small, Normal)
		require.True(t, first.admitted())
		require.False(t, second.done)
		r := rejected(t, enter(t.Context(), q, small, Normal))
		require.Equal(t, http.StatusTooManyRequests, r.Code)
		require.Equal(t, KeyBusy, r.Reason)
		require.Equal(t, `key "small": 1 of its requests run and 1 wait already`, r.Message)
		require.True(t, enter(t.Context(), q, key("other"), Normal).admitted(), "whoever waits for a limit of its own holds up nobody")
		first.leave()
		require.True(t, second.admitted())
	})
}

func TestQueue_rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{}, nil)
		k := &Key{Name: "a", Priority: High, Rate: 2}
		for range 2 {
			enter(t.Context(), q, k, Normal).leave()
		}
		r := rejected(t, enter(t.Context(), q, k, Normal))
		require.Equal(t, KeyRate, r.Reason)
		require.Equal(t, http.StatusTooManyRequests, r.Code)
		require.Equal(t, `key "a": more than 2 requests a second`, r.Message)
		time.Sleep(501 * time.Millisecond)
		require.True(t, enter(t.Context(), q, k, Normal).admitted())
		require.False(t, enter(t.Context(), q, k, Normal).admitted())
	})
}

func TestQueue_retryAfterFollowsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1, MaxWaiting: 9}, nil)
		for range 60 {
			e := enter(t.Context(), q, key("a"), Normal)
			time.Sleep(2 * time.Second)
			e.leave()
		}
		enter(t.Context(), q, key("a"), Normal)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 9 {
			enter(ctx, q, key("a"), Normal)
		}
		require.InDelta(t, 20, rejected(t, enter(t.Context(), q, key("a"), Normal)).RetryAfter.Seconds(), 1)
	})
}

func TestSetLimits_letsMoreInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(Limits{MaxRunning: 1}, nil)
		enter(t.Context(), q, key("a"), Normal)
		second := enter(t.Context(), q, key("a"), Normal)
		require.False(t, second.done)
		q.SetLimits(Limits{MaxRunning: 2})
		synctest.Wait()
		require.True(t, second.admitted())
	})
}

func TestQueue_leavesNothingBehindUnderLoad(t *testing.T) {
	q := NewQueue(Limits{MaxRunning: 3, MaxWaiting: 50, MaxWait: time.Second}, nil)
	done := make(chan struct{})
	const clients, each = 20, 50
	for n := range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for m := range each {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(m%5)*time.Millisecond)
				if release, err := q.Enter(ctx, key(fmt.Sprint("k", n%4)), Priority(m%3-1)); err == nil {
					release()
				}
				cancel()
			}
		}()
	}
	for range clients {
		<-done
	}
	running, waiting := q.Depth()
	require.Zero(t, running+waiting)
	for _, u := range q.keys {
		require.Zero(t, u.running+u.waiting)
	}
	for _, c := range q.classes {
		require.Empty(t, c.lines)
	}
}
