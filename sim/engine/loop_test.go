package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

// load is the outcome of a closed loop of clients, answers of 128 tokens.
type load struct {
	ttft   []time.Duration
	perSec float64
}

func closedLoop(clients int, serve func(i int, begin time.Time) time.Duration) load {
	const requests = 8 // of each client
	var out load
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := range requests {
				first := serve(c*requests+i, time.Now())
				mu.Lock()
				out.ttft = append(out.ttft, first)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	out.perSec = float64(clients*requests*128) / time.Since(begin).Seconds()
	slices.Sort(out.ttft)
	return out
}

// percentile of the times to first token, in milliseconds.
func (l load) percentile(p int) float64 { return float64(l.ttft[(len(l.ttft)-1)*p/100]) / 1e6 }

// TestLatency_closedLoopsComeOutLikeTheMeasuredOnes runs 2048 tokens in, 128
// out, on one prefill and one decode, and on two engines without handoffs. It
// is the scheduler that is tested here: nothing was fitted to these numbers.
func TestLatency_closedLoopsComeOutLikeTheMeasuredOnes(t *testing.T) {
	h200 := profile.H200Llama8B()
	ask := func(i int) engine.Request {
		return engine.Request{ID: fmt.Sprint(i), Prompt: prompt(2048, i), MaxTokens: 128, IgnoreEOS: true}
	}
	for _, row := range []struct {
		clients                           int
		pd50, pd99, pdSpeed, agg99, speed float64
	}{
		{16, 236, 848, 1781, 411, 1893},
		{64, 2404, 3266, 2278, 1621, 3289},
	} {
		t.Run(fmt.Sprint(row.clients, " handed over"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prefill, decode, _ := nodes(t, h200)
				l := closedLoop(row.clients, func(i int, begin time.Time) time.Duration {
					_, params := leg1(t, prefill, fmt.Sprint("leg1-", i), prompt(2048, i))
					leg, r := time.Since(begin), ask(i)
					r.Params = params
					two := generate(t, decode, r)
					require.NoError(t, two.err)
					return leg + two.first
				})
				require.InEpsilon(t, row.pd50, l.percentile(50), 0.2)
				require.InEpsilon(t, row.pd99, l.percentile(99), 0.2)
				require.InEpsilon(t, row.pdSpeed, l.perSec, 0.2)
			})
		})
		t.Run(fmt.Sprint(row.clients, " aggregated"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var turn atomic.Int64
				var servers [2]*node
				for i := range servers {
					servers[i] = newNode(t, func(c *engine.Config) { c.Profile, c.NumBlocks = h200, 1<<14 })
				}
				l := closedLoop(row.clients, func(i int, _ time.Time) time.Duration {
					r := generate(t, servers[turn.Add(1)%2], ask(i))
					require.NoError(t, r.err)
					return r.first
				})
				require.InEpsilon(t, row.agg99, l.percentile(99), 0.2)
				require.InEpsilon(t, row.speed, l.perSec, 0.2)
			})
		})
	}
}
