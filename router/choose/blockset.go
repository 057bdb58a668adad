package choose

import (
	"math/bits"
	"math/rand/v2"
)

// blockSet is a set of block hashes: open addressing, because a request adds a
// thousand of them while everybody else waits to choose, and a map takes ten
// times as long. Nothing is ever taken out of it.
type blockSet struct {
	slots []uint64 // 0: free; a power of two, at most half full
	n     int
	// mix is odd and at random, so that nobody can write prompts whose blocks
	// all fall into one place.
	mix uint64
}

// slot is where a block is, or would be.
func (s *blockSet) slot(block uint64) *uint64 {
	mask := uint64(len(s.slots) - 1)
	for at := block * s.mix >> (64 - bits.Len64(mask)); ; at = (at + 1) & mask {
		if s.slots[at] == block || s.slots[at] == 0 {
			return &s.slots[at]
		}
	}
}

func (s *blockSet) has(block uint64) bool { return s.n > 0 && *s.slot(block) != 0 }

// add puts a block in, if it is not there. 0 is nobody's hash, for practical
// purposes: it is left out.
func (s *blockSet) add(block uint64) {
	if 2*(s.n+1) > len(s.slots) {
		s.grow()
	}
	if at := s.slot(block); *at != block {
		*at = block
		s.n++
	}
}

const firstSlots = 256

func (s *blockSet) grow() {
	old := s.slots
	s.mix = rand.Uint64() | 1
	s.slots = make([]uint64, max(firstSlots, 2*len(old)))
	for _, block := range old {
		if block != 0 {
			*s.slot(block) = block
		}
	}
}

// clear empties the set and keeps its memory.
func (s *blockSet) clear() {
	clear(s.slots)
	s.n = 0
}
