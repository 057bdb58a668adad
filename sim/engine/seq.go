package engine

import (
	"slices"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// phase of a sequence:
//
//	queued -> fetching -> queued (loaded) -> executing -> finished
//	queued -> executing -> queued (preempted)
//	any    -> finished
type phase int

const (
	queued phase = iota
	fetching
	executing
	finished
)

// seq is a sequence in the engine.
type seq struct {
	req     Request
	out     *Stream
	phase   phase
	aborted bool

	verdict verdict
	remote  remote
	loaded  bool // the remote KV has arrived, or will not
	failed  bool // it will not, and the prompt is computed here
	cancel  func()

	tokens   []int // prompt and answer
	computed int   // positions whose KV is in the blocks, or will be after this pass
	folded   int   // positions that state covers
	state    kv.State
	blocks   []int
	hashes   []kv.Hash // of the full blocks, as far as needed
	named    int       // blocks that have had their chance to be named
	natural  int       // length of the answer if nothing else ends it

	cached, external, created int
	preemptions               int
	looked                    bool // the prefix lookup has been counted

	text pending

	arrived, scheduled, first, last time.Time
}

func (s *seq) generated() int { return len(s.tokens) - len(s.req.Prompt) }

// hashesUpTo is the hashes of the first n full blocks.
func (s *seq) hashesUpTo(n, size int) []kv.Hash {
	for len(s.hashes) < n {
		parent := kv.HashSalt(s.req.CacheSalt)
		if s.req.Adapter != "" {
			parent = kv.HashSalt(s.req.Adapter + "\x00" + s.req.CacheSalt)
		}
		if i := len(s.hashes); i > 0 {
			parent = s.hashes[i-1]
		}
		at := len(s.hashes) * size
		s.hashes = append(s.hashes, kv.HashBlock(parent, s.tokens[at:at+size]))
	}
	return s.hashes[:n]
}

// fold brings the state up to position n, reading the blocks.
func (s *seq) fold(p *kv.Pool, n int) {
	size := p.BlockSize()
	for ; s.folded < n; s.folded++ {
		s.state = kv.Attend(s.state, p.Get(s.blocks[s.folded/size], s.folded%size))
	}
}

// forward computes positions up to n into the blocks.
func (s *seq) forward(p *kv.Pool, n int) {
	size := p.BlockSize()
	for ; s.folded < n; s.folded++ {
		slot := kv.Compute(s.state, s.tokens[s.folded])
		p.Set(s.blocks[s.folded/size], s.folded%size, slot)
		s.state = kv.Attend(s.state, slot)
	}
}

// rewind forgets all KV, for a preemption.
func (s *seq) rewind() {
	s.computed, s.folded, s.state, s.blocks, s.named = 0, 0, kv.Start(s.req.Adapter), nil, 0
}

func remove(list []*seq, s *seq) []*seq {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
