package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

func TestSchedule_queuesBeyondMaxNumSeqs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(c *engine.Config) { c.MaxNumSeqs = 2 })
		var streams []*engine.Stream
		for i := range 5 {
			streams = append(streams, n.Submit(engine.Request{ID: fmt.Sprint(i), Prompt: prompt(20, i), MaxTokens: 50}))
		}
		time.Sleep(20 * time.Millisecond)
		require.Equal(t, engine.Stats{Running: 2, Waiting: 3, UsedBlocks: n.Stats().UsedBlocks}, n.Stats())
		require.Equal(t, 3.0, n.value(n.m.Waiting))
		require.Equal(t, 3.0, n.value(n.m.WaitingByReason, "reason", "capacity"))
		for _, s := range streams {
			require.NoError(t, collect(t.Context(), s).err)
		}
		require.Zero(t, n.Stats().UsedBlocks)
		require.Equal(t, 5.0, n.value(n.m.Success, "finished_reason", "length"))
		require.Equal(t, 250.0, n.value(n.m.GenerationTokens))
	})
}

func TestSchedule_preemptionDoesNotChangeTheText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := func(i int) engine.Request {
			return engine.Request{ID: fmt.Sprint(i), Prompt: prompt(100, i), MaxTokens: 120, IgnoreEOS: true}
		}
		roomy := newNode(t, nil)
		tight := newNode(t, func(c *engine.Config) { c.NumBlocks = 24; c.PrefixCaching = false })
		var streams []*engine.Stream
		for i := range 3 {
			streams = append(streams, tight.Submit(ask(i)))
		}
		for i, s := range streams {
			got := collect(t.Context(), s)
			require.NoError(t, got.err)
			require.Equal(t, generate(t, roomy, ask(i)).tokens, got.tokens)
		}
		require.Positive(t, tight.value(tight.m.Preemptions))
		require.Zero(t, roomy.value(roomy.m.Preemptions))
	})
}

func TestSchedule_chunkedPrefillDoesNotChangeTheText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := engine.Request{ID: "a", Prompt: prompt(1000, 1), MaxTokens: 20}
		small := newNode(t, func(c *engine.Config) { c.MaxBatchedTokens = 64 })
		require.Equal(t, generate(t, newNode(t, nil), ask).tokens, generate(t, small, ask).tokens)
		synctest.Wait() // an iteration is counted after its tokens are out
		require.GreaterOrEqual(t, small.value(small.m.Iteration), 1000/64.0+19)
	})
}

func TestPrefixCache_hitsAndSalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		ask := func(salt string) reply {
			return generate(t, n, engine.Request{ID: "x" + salt, Prompt: prompt(100, 1), MaxTokens: 10, CacheSalt: salt})
		}
		cold, warm, salted := ask(""), ask(""), ask("s")
		require.Equal(t, []int{0, 96, 0}, []int{cold.last.Cached, warm.last.Cached, salted.last.Cached})
		require.Equal(t, []int{96, 0, 96}, []int{cold.last.Created, warm.last.Created, salted.last.Created})
		require.Equal(t, cold.tokens, warm.tokens)
		require.Equal(t, cold.tokens, salted.tokens)
		require.Less(t, warm.first, cold.first)
		require.Equal(t, 300.0, n.value(n.m.PrefixQueries))
		require.Equal(t, 96.0, n.value(n.m.PrefixHits))
		n.ResetPrefixCache()
		require.Zero(t, ask("").last.Cached)
	})
}

func TestStop_conditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		base := engine.Request{Prompt: prompt(50, 1), MaxTokens: 60}
		free := generate(t, n, base)
		require.Equal(t, "length", free.last.Finish)
		text := tokens.DecodeAll(free.tokens)
		stop := text[len(text)/2 : len(text)/2+6]

		r := base
		r.Stop = []string{stop}
		s := n.Submit(r)
		got := ""
		for {
			o, err := s.Next(t.Context())
			require.NoError(t, err)
			got += o.Text
			if o.Done() {
				require.Equal(t, "stop", o.Finish)
				require.Equal(t, stop, o.StopReason)
				break
			}
		}
		require.Contains(t, text, got)
		require.NotContains(t, got, stop, "no part of the stop string was sent")

		r = base
		r.StopTokens = []int{free.tokens[3]}
		require.Equal(t, free.tokens[3], generate(t, n, r).last.StopReason)

		r = base
		r.MaxTokens = 5000
		natural := generate(t, n, r)
		require.Equal(t, "stop", natural.last.Finish)
		require.Nil(t, natural.last.StopReason)
		require.Less(t, len(natural.tokens), 600)
		r.MinTokens = 700
		require.Greater(t, len(generate(t, n, r).tokens), 700)

		r = base
		r.Forced = tokens.Encode("{}")
		forced := generate(t, n, r)
		require.Equal(t, "stop", forced.last.Finish)
		require.Equal(t, "{}", tokens.DecodeAll(forced.tokens[:len(forced.tokens)-1]))
	})
}
