package roster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

func TestRun_asksAtOnceAndThenRarely(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		require.Equal(t, []string{"m"}, w.names(at("a")))
		known := w.Lists()
		time.Sleep(every)
		require.Len(t, w.times("a"), 2)
		require.Same(t, known, w.Lists(), "the same is no news: the tables built from it stay")
		w.say("b", "m", "sql")
		w.set(at("a"), at("b"))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, []string{"m", "sql"}, w.names(at("b")))
		require.Len(t, w.times("a"), 2, "who was there is not asked because of who is new")
	}, at("a"))
}

func TestRun_failureIsNotEmptiness(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.say("a")
		time.Sleep(10 * every)
		require.Greater(t, len(w.times("a")), 9)
		require.Equal(t, []string{"m"}, w.names(at("a")))
		require.Equal(t, 1, strings.Count(w.log.String(), "does not list its models"), "once, not each time")
		w.say("a", "m", "new")
		time.Sleep(2 * every)
		require.Equal(t, []string{"m", "new"}, w.names(at("a")))
	}, at("a"))
}

func TestRun_whoComesBackIsAskedAgain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.set(at("a", critical))
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"m"}, w.names(at("a")), "it is still known whose requests wait for it")
		require.Len(t, w.times("a"), 1)
		w.say("a", "other")
		w.set(at("a"))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, []string{"other"}, w.names(at("a")))
	}, at("a"))
}

func TestRun_anotherServerOfTheNameIsAnother(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.say("a")
		moved := at("a", func(i *fleet.Instance) { i.URL = "http://elsewhere" })
		w.set(moved)
		time.Sleep(100 * time.Millisecond)
		require.Empty(t, w.names(moved))
		require.Empty(t, *w.Lists(), "nor is the old one's list kept")
	}, at("a"))
}

func TestForget_dropsWhatARestartedOneListed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.say("a")
		w.Forget(at("a").Key())
		time.Sleep(2 * gap)
		require.Empty(t, w.names(at("a")))
		require.Len(t, w.times("a"), 2)
	}, at("a"))
}

func TestDoubt_asksThatOneSoonAndNotOften(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.say("a", "m", "sql")
		for range 1000 {
			w.Doubt(at("a").Key())
			time.Sleep(5 * time.Millisecond)
		}
		require.Equal(t, []string{"m", "sql"}, w.names(at("a")))
		require.InDelta(t, 1+5, len(w.times("a")), 1, "once a second")
		require.Len(t, w.times("b"), 1)
	}, at("a"), at("b"))
}

func TestFind_seesWhatWasLoadedJustBefore(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for n := range 5 { // whenever it comes, in a round or between two
			name := fmt.Sprint("adapter-", n)
			w.say("a", "m", name)
			w.Find(t.Context())
			require.Contains(t, w.names(at("a")), name)
			go w.Find(t.Context())
			time.Sleep(gap + 5*time.Millisecond) // that one's round is under way
		}
		time.Sleep(gap)
	}, at("a"))
}

func TestFind_aFloodAsksAtTheLimitedRate(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 5000 {
			wg.Go(func() { w.Find(t.Context()) })
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		asked := w.times("a")
		require.InDelta(t, 1+6, len(asked), 1)
		for n := 2; n < len(asked); n++ {
			require.GreaterOrEqual(t, asked[n]-asked[n-1], gap)
		}
	}, at("a"))
}

func TestFind_isNotHeldUpForEver(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.hang("hung", true)
		w.say("a", "m", "sql")
		began := time.Now()
		w.Find(t.Context())
		require.Equal(t, patience, time.Since(began))
		require.Contains(t, w.names(at("a")), "sql")
		require.Equal(t, []string{"m"}, w.names(at("hung")))

		gone, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		w.Find(gone)
		require.Less(t, time.Since(began), patience+gap)

	}, at("a"), at("hung"))
}

func TestFind_isNotHeldUpByMany(t *testing.T) {
	var many []*fleet.Instance
	for n := range 10 * atOnce {
		many = append(many, at(fmt.Sprint("i", n)))
	}
	run(t, func(t *testing.T, w *world) {
		for _, i := range many {
			w.hang(i.ID, true)
		}
		began := time.Now()
		w.Find(t.Context())
		require.Equal(t, gap+patience, time.Since(began))
	}, many...)
}

func TestFind_doesNotWaitWhereNobodyCanBeAsked(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.Find(t.Context())
		w.set(at("a", critical))
		synctest.Wait()
		began := time.Now()
		w.Find(t.Context())
		require.Zero(t, time.Since(began))
	}, at("a"))
}

func TestFind_doesNotWaitForWhoDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(at("a"))
		w.hang("a", true)
		began := time.Now()
		w.Find(t.Context())
		w.Doubt(at("a").Key())
		require.Zero(t, time.Since(began))
		require.Empty(t, w.orders.doubted, "nobody would ever forget it")

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		let := make(chan struct{})
		go func() { w.Find(t.Context()); close(let) }()
		synctest.Wait()
		cancel()
		<-let
		<-ended
		require.Zero(t, time.Since(began), "who waits is let go")
		require.NotContains(t, w.log.String(), "does not list", "an end of ours is no failure of an instance")
	})
}

func TestAsk_aFewAtATime(t *testing.T) {
	var many []*fleet.Instance
	for n := range 100 {
		many = append(many, at(fmt.Sprint("i", n)))
	}
	run(t, func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		require.Len(t, *w.Lists(), 100)
		require.Equal(t, atOnce, w.max)
	}, many...)
}
