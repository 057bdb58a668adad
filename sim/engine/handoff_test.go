package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

func TestFetch_deadSideChannelFailsAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prefill, decode, network := nodes(t, profile.Fast())
		_, params := leg1(t, prefill, "a", prompt(64, 1))
		params["remote_port"] = 9
		begin := time.Now()
		r := generate(t, decode, engine.Request{ID: "b", Prompt: prompt(64, 1), MaxTokens: 4, Params: params})
		require.ErrorIs(t, r.err, engine.ErrLoad)
		require.InDelta(t, 5.0, time.Since(begin).Seconds(), 0.05, "refused connections are tried again all the while")

		// Something listens and says nothing.
		network.listen("prefill:9")
		begin = time.Now()
		r = generate(t, decode, engine.Request{ID: "c", Prompt: prompt(64, 1), MaxTokens: 4, Params: params})
		require.ErrorIs(t, r.err, engine.ErrLoad)
		require.InDelta(t, 5.0, time.Since(begin).Seconds(), 0.05)
	})
}

func TestLease_endsAfterThirtySecondsAndIsNotChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prefill, decode, _ := nodes(t, profile.Fast())
		one, params := leg1(t, prefill, "a", prompt(100, 1))
		time.Sleep(29 * time.Second)
		require.Equal(t, 1, prefill.Stats().Leases)
		require.Equal(t, 7, prefill.Stats().UsedBlocks)
		time.Sleep(2 * time.Second)
		require.Zero(t, prefill.Stats().Leases)
		require.Zero(t, prefill.Stats().UsedBlocks)
		require.Equal(t, 1.0, prefill.value(prefill.m.Expired))
		late := generate(t, decode, engine.Request{ID: "b", Prompt: prompt(100, 1), MaxTokens: 1, Params: params})
		require.NoError(t, late.err)
		require.Equal(t, one.tokens, late.tokens, "nobody has written over it")
		synctest.Wait()
		require.Equal(t, 1.0, prefill.value(prefill.m.AfterExpiry))
	})
}

func TestLease_isExtendedWhileItsRequestWaitsAtTheDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := profile.Fast()
		slow.Step = 2 * time.Second
		prefill, decode, _ := nodesOf(t, profile.Fast(), slow, 20)
		hog := decode.Submit(engine.Request{ID: "hog", Prompt: prompt(17*16, 3), MaxTokens: 30, IgnoreEOS: true})
		one, params := leg1(t, prefill, "a", prompt(200, 1))
		waiting := decode.Submit(engine.Request{ID: "b", Prompt: prompt(200, 1), MaxTokens: 1, Params: params})
		time.Sleep(45 * time.Second)
		require.Equal(t, 1, decode.Stats().Waiting, "the hog has all blocks")
		require.Equal(t, 1, prefill.Stats().Leases)
		require.Equal(t, 1.0, decode.value(decode.m.FetchByStage, "stage", "waiting_to_start"))
		require.NoError(t, collect(t.Context(), hog).err)
		got := collect(t.Context(), waiting)
		require.NoError(t, got.err)
		require.Equal(t, one.tokens, got.tokens)
		require.Zero(t, prefill.value(prefill.m.Expired))
		require.Zero(t, prefill.Stats().Leases)
	})
}

func TestAbort_whileFetchingFreesBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := profile.Fast()
		slow.Bandwidth = 1000 // bytes a second
		prefill, decode, _ := nodes(t, slow)
		_, params := leg1(t, prefill, "a", prompt(64, 1))
		ctx, leave := context.WithCancel(t.Context())
		s := decode.Submit(engine.Request{ID: "b", Prompt: prompt(64, 1), MaxTokens: 4, Params: params})
		time.Sleep(time.Second)
		require.Equal(t, 1, decode.Stats().Deferred)
		leave()
		require.ErrorIs(t, collect(ctx, s).err, context.Canceled)
		synctest.Wait()
		require.Zero(t, decode.Stats().UsedBlocks)
		require.Zero(t, prefill.Stats().Leases)
		require.Zero(t, decode.value(decode.m.FailedTransfers))
	})
}

func TestAbort_beforeTheFetchFreesThePrefill(t *testing.T) {
	slow := profile.Fast()
	slow.Request = time.Minute
	for name, p := range map[string]profile.Profile{"queued": profile.Fast(), "not yet queued": slow} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prefill, decode, _ := nodesOf(t, profile.Fast(), p, 20)
				hog := decode.Submit(engine.Request{ID: "hog", Prompt: prompt(17*16, 3), MaxTokens: 1 << 20, IgnoreEOS: true})
				_, params := leg1(t, prefill, "a", prompt(200, 1))
				ctx, leave := context.WithCancel(t.Context())
				s := decode.Submit(engine.Request{ID: "b", Prompt: prompt(200, 1), MaxTokens: 4, Params: params})
				time.Sleep(10 * time.Millisecond)
				require.Zero(t, decode.Stats().Deferred)
				require.Equal(t, 1, prefill.Stats().Leases)
				leave()
				require.ErrorIs(t, collect(ctx, s).err, context.Canceled)
				hog.Abort()
				synctest.Wait()
				require.Zero(t, prefill.Stats().Leases)
				require.Zero(t, prefill.Stats().UsedBlocks)
				require.Zero(t, prefill.value(prefill.m.Expired))
				require.Zero(t, decode.Stats().Waiting)
				require.Zero(t, decode.value(decode.m.FailedNotifications))
			})
		})
	}
}

func TestParams_asRealVLLMGivesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prefill, _, _ := nodes(t, profile.Fast())
		r, _ := leg1(t, prefill, "chatcmpl-x-12345678", prompt(100, 1))
		p := r.last.Params
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, p.BlockIDs[0])
		require.Equal(t, 100, p.NumTokens)
		require.Equal(t, "chatcmpl-x-12345678", p.RequestID)
		require.Equal(t, "pull", p.TransferMode)
		require.Zero(t, *p.CachedTokens)

		again, _ := leg1(t, prefill, "again", prompt(100, 1))
		require.Equal(t, 96, *again.last.Params.CachedTokens)
		require.Equal(t, []int{1, 2, 3, 4, 5, 6}, again.last.Params.BlockIDs[0][:6], "cached blocks are shared")

		five := generate(t, prefill, engine.Request{ID: "five", Prompt: prompt(100, 2), MaxTokens: 5, Params: keep})
		require.Nil(t, five.last.Params.CachedTokens)
		require.Equal(t, 104, five.last.Params.NumTokens)
	})
}
