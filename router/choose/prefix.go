package choose

import "github.com/nomad-vllm/nomad-vllm/fleet"

// prefixIndex is an approximate picture of the instances' prefix caches: the
// blocks of the prompts that each was sent. It forgets what has not been seen
// for long, as the caches do, and is wrong where an instance evicted earlier;
// a wrong guess costs a prefill, never an answer.
//
// Each instance has two generations of blocks. New ones go to the young; when
// that is full it becomes the old, and the old is dropped. A block that is
// seen again moves to the young. So memory is bounded and nothing is swept.
type prefixIndex struct {
	most      int // blocks of one generation
	instances map[fleet.Key]*generations
}

type generations struct{ young, old blockSet }

func newPrefixIndex(most int) *prefixIndex {
	return &prefixIndex{most: max(1, most/2), instances: map[fleet.Key]*generations{}}
}

func (g *generations) has(block uint64) bool { return g.young.has(block) || g.old.has(block) }

// cached is how many leading blocks the instance was sent before. Blocks are
// chained and were added together, so those that it has are the first ones:
// a binary search finds the last. Where half of a chain has been forgotten the
// search may stop short.
func (x *prefixIndex) cached(k fleet.Key, blocks []uint64) int {
	g := x.instances[k]
	if g == nil {
		return 0
	}
	low, high := 0, len(blocks) // blocks[:low] are there, blocks[high:] are not
	for low < high {
		mid := (low + high) / 2
		if g.has(blocks[mid]) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// add remembers that the instance was sent the blocks.
func (x *prefixIndex) add(k fleet.Key, blocks []uint64) {
	if len(blocks) == 0 {
		return
	}
	g := x.instances[k]
	if g == nil {
		g = &generations{}
		x.instances[k] = g
	}
	if g.young.has(blocks[len(blocks)-1]) {
		return // with all before it, which were added after it
	}
	// The last first: when a long prompt turns the generation over within
	// itself, its beginning, which others share, must be in the young one.
	for i := len(blocks) - 1; i >= 0; i-- {
		if g.young.n >= x.most {
			g.old, g.young = g.young, g.old
			g.young.clear()
		}
		g.young.add(blocks[i])
	}
}

// forget drops what an instance held: it has restarted.
func (x *prefixIndex) forget(k fleet.Key) { delete(x.instances, k) }

// size is the number of blocks that are remembered of an instance.
func (x *prefixIndex) size(k fleet.Key) int {
	if g := x.instances[k]; g != nil {
		return g.young.n + g.old.n
	}
	return 0
}
