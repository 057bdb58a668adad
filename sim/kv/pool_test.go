package kv_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

func TestPool_allocatesAllOrNothing(t *testing.T) {
	p := kv.NewPool(5, 16)
	ids, ok := p.Allocate(3)
	require.True(t, ok)
	require.Equal(t, []int{1, 2, 3}, ids, "block 0 is never handed out")
	_, ok = p.Allocate(2)
	require.False(t, ok)
	require.Equal(t, 1, p.Free())
	require.InDelta(t, 0.75, p.Usage(), 1e-9)
}

func TestPool_reusesUnnamedBlocksFirstAndNamedOnesLast(t *testing.T) {
	p := kv.NewPool(6, 16)
	ids, _ := p.Allocate(3)
	require.True(t, p.Name(ids[0], 100))
	require.True(t, p.Name(ids[1], 200))
	p.Release(ids)
	next, _ := p.Allocate(3)
	require.Equal(t, []int{3, 4, 5}, next, "the unnamed one, then those never used")
	require.Equal(t, []int{1, 2}, p.Match([]kv.Hash{100, 200}), "the named ones are still found")
	p.Release([]int{1, 2})
	_, _ = p.Allocate(1)
	require.Equal(t, []int{1}, p.Match([]kv.Hash{100, 200}), "the end of a prefix is given up first")
}

func TestPool_sharedBlocksLiveUntilTheLastRelease(t *testing.T) {
	p := kv.NewPool(4, 16)
	ids, _ := p.Allocate(1)
	p.Name(ids[0], 7)
	require.Equal(t, ids, p.Match([]kv.Hash{7}))
	p.Release(ids)
	require.Equal(t, 1, p.Used())
	p.Release(ids)
	require.Zero(t, p.Used())
	p.Forget()
	require.Empty(t, p.Match([]kv.Hash{7}))
}

func TestPool_contentsOutliveTheirOwner(t *testing.T) {
	p := kv.NewPool(2, 4)
	ids, _ := p.Allocate(1)
	p.Set(ids[0], 2, 42)
	p.Release(ids)
	require.Equal(t, []kv.Slot{0, 0, 42, 0}, p.Slots(ids[0]))
	again, _ := p.Allocate(1)
	require.Equal(t, kv.Slot(42), p.Get(again[0], 2))
}

func TestContent_dependsOnEverythingBefore(t *testing.T) {
	state := func(tokens ...int) kv.State {
		var s kv.State
		for _, tok := range tokens {
			s = kv.Attend(s, kv.Compute(s, tok))
		}
		return s
	}
	require.Equal(t, state(1, 2, 3), state(1, 2, 3))
	require.NotEqual(t, state(1, 2, 3), state(2, 1, 3))
	require.NotEqual(t, state(1, 2, 3), state(9, 2, 3))
	require.NotEqual(t, kv.HashBlock(kv.HashSalt("a"), []int{1}), kv.HashBlock(kv.HashSalt(""), []int{1}))
}
