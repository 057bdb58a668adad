package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

// TestLatency_reproducesTheMeasuredTable holds the h200-llama-8b profile to
// what real vLLM took for single requests: milliseconds, p50.
func TestLatency_reproducesTheMeasuredTable(t *testing.T) {
	for _, row := range []struct {
		prompt                           int
		prefillLeg, decodeFirst, pd, agg float64
		itlPD, itlAgg                    float64
		transfer, megabytes              float64
	}{
		{512, 20.8, 17.6, 38.1, 20.9, 4.7, 4.8, 2.1, 67},
		{2048, 56.6, 21.4, 78.4, 55.2, 4.8, 4.9, 2.6, 268},
		{8192, 224, 36.1, 259, 223, 5.0, 5.1, 5.1, 1070},
		{32768, 1239, 91.8, 1335, 1249, 5.8, 5.8, 13.4, 4290},
	} {
		t.Run(fmt.Sprint(row.prompt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prefill, decode, _ := nodes(t, profile.H200Llama8B())
				_, params := leg1(t, prefill, "met", prompt(64, 1))
				generate(t, decode, engine.Request{ID: "met", Prompt: prompt(64, 1), MaxTokens: 1, Params: params})

				p := prompt(row.prompt, 2)
				begin := time.Now()
				_, params = leg1(t, prefill, "a", p)
				near(t, row.prefillLeg, time.Since(begin), "prefill leg")
				begin, bytes := time.Now(), decode.value(decode.m.Bytes)
				two := generate(t, decode, engine.Request{ID: "b", Prompt: p, MaxTokens: 32, Params: params})
				require.NoError(t, two.err)
				near(t, row.decodeFirst, two.first, "decode's first token")
				near(t, row.itlPD, two.gap, "between tokens")
				require.Equal(t, bytes+1, decode.value(decode.m.Bytes))

				alone := generate(t, newNode(t, func(c *engine.Config) {
					c.Profile, c.NumBlocks = profile.H200Llama8B(), 1<<14
				}), engine.Request{ID: "c", Prompt: p, MaxTokens: 32})
				near(t, row.agg, alone.first, "aggregated")
				near(t, row.itlAgg, alone.gap, "aggregated, between tokens")
				require.Equal(t, alone.tokens, two.tokens)
			})
			near(t, row.transfer, profile.H200Llama8B().Transfer(row.prompt), "transfer")
			require.InEpsilon(t, row.megabytes, float64(row.prompt*profile.H200Llama8B().KVBytesPerToken)/1e6, 0.01)
		})
	}
}

// near allows a tenth: the table's own spread.
func near(t *testing.T, ms float64, got time.Duration, what string) {
	t.Helper()
	require.InEpsilon(t, ms, float64(got)/1e6, 0.10, what)
}

func TestLatency_handshakeIsPaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile.H200Llama8B()
		prefill, decode, _ := nodes(t, p)
		var took []time.Duration
		for i := range 2 {
			_, params := leg1(t, prefill, fmt.Sprint(i), prompt(64, i))
			r := generate(t, decode, engine.Request{ID: fmt.Sprint(i), Prompt: prompt(64, i), MaxTokens: 1, Params: params})
			require.NoError(t, r.err)
			took = append(took, r.first)
		}
		require.InDelta(t, p.Handshake.Seconds(), (took[0] - took[1]).Seconds(), 0.001)
	})
}

func TestLatency_batchSharesAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(c *engine.Config) { c.Profile = profile.H200Llama8B() })
		for i := range 15 {
			n.Submit(engine.Request{ID: fmt.Sprint(i), Prompt: prompt(2048, i), MaxTokens: 400, IgnoreEOS: true})
		}
		time.Sleep(time.Second) // their prompts are computed
		last := generate(t, n, engine.Request{ID: "last", Prompt: prompt(2048, 15), MaxTokens: 50, IgnoreEOS: true})
		require.NoError(t, last.err)
		require.Equal(t, 15, n.Stats().Running)
		near(t, 5.7, last.gap, "measured at concurrency 16")
	})
}
