package choose

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestBlocks_shareExactlyTheCommonBeginning(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 128) // 2 KiB
	a := blocksOf(Seed("m"), []byte(text))
	require.Len(t, a, 4)
	changed := []byte(text)
	changed[BlockBytes+3] = '!'
	b := blocksOf(Seed("m"), changed)
	require.Equal(t, a[0], b[0])
	for n := 1; n < 4; n++ {
		require.NotEqual(t, a[n], b[n], "what follows a difference differs, though its text is the same")
	}
	require.NotEqual(t, a[0], blocksOf(Seed("other"), []byte(text))[0])
	require.Equal(t, a[:1], blocksOf(Seed("m"), []byte(text[:2*BlockBytes-1])), "whole blocks only")
}

func TestPrefixIndex_findsTheLongestPrefix(t *testing.T) {
	x := newPrefixIndex(1000)
	k := fleet.Key{ID: "a"}
	blocks := prompt("p", 16<<10).Blocks
	require.Zero(t, x.cached(k, blocks))
	x.add(k, blocks[:20])
	require.Equal(t, 20, x.cached(k, blocks))
	require.Zero(t, x.cached(fleet.Key{ID: "b"}, blocks))
	x.forget(k)
	require.Zero(t, x.cached(k, blocks))
}

func TestPrefixIndex_isBoundedAndForgetsTheOldest(t *testing.T) {
	x := newPrefixIndex(100)
	k := fleet.Key{ID: "a"}
	hot := prompt("hot", 4<<10).Blocks
	for n := range 200 {
		x.add(k, hot) // is used again and again
		x.add(k, prompt(strings.Repeat("n", n+1), 8<<10).Blocks)
		require.LessOrEqual(t, x.size(k), 100)
	}
	require.Equal(t, len(hot), x.cached(k, hot))
	require.Zero(t, x.cached(k, prompt("n", 8<<10).Blocks))
}

func TestPrefixIndex_promptLongerThanTheIndexKeepsItsBeginning(t *testing.T) {
	x := newPrefixIndex(20)
	k := fleet.Key{ID: "a"}
	long := prompt("p", 64<<10).Blocks
	x.add(k, long)
	require.GreaterOrEqual(t, x.cached(k, long[:8]), 8)
}

func TestParseReport(t *testing.T) {
	r, ok := ParseReport(`JSON {"named_metrics": {"num_requests_waiting": 3.0, "kv_cache_usage_perc": 0.25}}`)
	require.True(t, ok)
	require.Equal(t, Report{Waiting: 3, KVUsage: 0.25}, r)
	for _, bad := range []string{
		"", "JSON", "JSON {}", `TEXT named_metrics.num_requests_waiting=0.0`,
		`JSON {"named_metrics": {"num_requests_waiting": NaN, "kv_cache_usage_perc": 0}}`,
		`JSON {"named_metrics": {"num_requests_waiting": -1, "kv_cache_usage_perc": 0}}`,
		`JSON {"named_metrics": {"num_requests_waiting": 1, "kv_cache_usage_perc": 7}}`,
		`JSON {"named_metrics": {"num_requests_waiting": "x", "kv_cache_usage_perc": 0}}`,
		`JSON {"named_metrics": {"num_requests_waiting": 1}}`,
	} {
		_, ok := ParseReport(bad)
		require.False(t, ok, bad)
	}
}

func TestWorth_fixedThreshold(t *testing.T) {
	w := NewWorth(1000)
	require.Equal(t, pd.ReasonShortPrompt, w.Local(999, 999, 999))
	require.Equal(t, pd.ReasonNone, w.Local(5000, 5000, 5000))
	require.Equal(t, pd.ReasonCachedPrefix, w.Local(5000, 5000, 500), "the decode holds the rest")
	require.Equal(t, pd.ReasonCachedPrefix, w.Local(5000, 0, 500), "even if a prefill holds all of it")
	require.Equal(t, pd.ReasonNone, w.Local(5000, 200, 5000), "what a prefill holds is no reason to go local")
	require.Equal(t, pd.ReasonNone, NewWorth(0).Local(1, 1, 1))
}

func TestWorth_learnsWhereTheLinesCross(t *testing.T) {
	w := NewWorth(Learn)
	require.Equal(t, DefaultThreshold, w.Threshold(), "until it knows better")
	for n := range 200 {
		x := float64(n%50) * 200
		w.Handed(int(x), 0.010+x*5e-6, 0.015)
		w.Alone(int(x), 0.012+x*10e-6)
	}
	// 0.025 + 5e-6 x = 0.012 + 10e-6 x
	require.InDelta(t, 2600, w.Threshold(), 30)

	free := NewWorth(Learn)
	slow := NewWorth(Learn)
	for n := range 100 {
		x := n * 100
		free.Handed(x, 0.001, 0.001)
		free.Alone(x, 0.010+float64(x)*1e-5)
		slow.Handed(x, 0.5, 0.5) // a link that is never worth it
		slow.Alone(x, 0.010)
	}
	require.Zero(t, free.Threshold())
	require.Equal(t, learntMost, slow.Threshold())
}

func TestWorth_forgetsHowItWas(t *testing.T) {
	w := NewWorth(Learn)
	feed := func(overhead float64) {
		for n := range 3000 {
			x := float64(n%50) * 200
			w.Handed(int(x), overhead/2+x*5e-6, overhead/2)
			w.Alone(int(x), x*10e-6)
		}
	}
	feed(0.010)
	require.InDelta(t, 2000, w.Threshold(), 50)
	feed(0.030)
	require.InDelta(t, 6000, w.Threshold(), 150)
}

func TestBlockSet_holdsWhatWasAdded(t *testing.T) {
	var s blockSet
	require.False(t, s.has(1))
	for round := range 2 {
		for n := range uint64(5000) {
			require.False(t, s.has(n<<40+1), "round %d", round)
			s.add(n<<40 + 1)
			s.add(n<<40 + 1)
			require.Equal(t, int(n)+1, s.n)
		}
		for n := range uint64(5000) {
			require.True(t, s.has(n<<40+1))
			require.False(t, s.has(n<<40+2))
		}
		require.LessOrEqual(t, len(s.slots), 4*5000)
		s.clear()
	}
}
