package engine

import (
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

// pass is one forward pass over a batch.
type pass struct {
	seqs     []*seq
	upTo     []int // positions computed when it ends
	work     []profile.Work
	tokens   int
	duration time.Duration
}

func (p *pass) includes(s *seq) bool {
	for _, x := range p.seqs {
		if x == s {
			return true
		}
	}
	return false
}

func (p *pass) add(s *seq, n int) {
	p.seqs = append(p.seqs, s)
	p.work = append(p.work, profile.Work{Tokens: n, Context: s.computed})
	s.computed += n
	p.upTo = append(p.upTo, s.computed)
	p.tokens += n
}

// schedule makes up the next pass: every running sequence gets its next tokens,
// then waiting ones are admitted while there is budget, a seat and blocks. Nil
// when there is nothing to compute.
func (e *Engine) schedule() *pass {
	p := &pass{}
	budget := e.cfg.MaxBatchedTokens
	for i := 0; i < len(e.running) && budget > 0; i++ {
		s := e.running[i]
		n := min(budget, len(s.tokens)-s.computed)
		if n <= 0 || !e.growOrPreempt(s, s.computed+n) {
			continue
		}
		e.name(s, s.computed+n)
		p.add(s, n)
		budget -= n
	}
	e.admit(p, budget)
	if e.dead || len(p.seqs) == 0 {
		return nil
	}
	p.duration = e.cfg.Profile.Pass(p.work)
	return p
}

// growOrPreempt gets a running sequence its blocks, taking seats from the
// youngest others, itself last.
func (e *Engine) growOrPreempt(s *seq, n int) bool {
	for !e.grow(s, n) {
		victim := e.running[len(e.running)-1]
		e.preempt(victim)
		if victim == s {
			return false
		}
	}
	return true
}

func (e *Engine) preempt(s *seq) {
	e.cfg.Metrics.Add(e.cfg.Metrics.Preemptions, 1)
	s.preemptions++
	e.running = remove(e.running, s)
	e.pool.Release(s.blocks)
	s.rewind()
	s.phase = queued
	e.waiting = append([]*seq{s}, e.waiting...)
}

// grow gives a sequence blocks for n positions.
func (e *Engine) grow(s *seq, n int) bool {
	size := e.cfg.BlockSize
	need := (n+size-1)/size - len(s.blocks)
	if need <= 0 {
		return true
	}
	ids, ok := e.pool.Allocate(need)
	if ok {
		s.blocks = append(s.blocks, ids...)
	}
	return ok
}

// name makes the blocks findable that are full once n positions are computed.
// Like vLLM it does so when they are scheduled, so that a twin in the same pass
// shares them.
func (e *Engine) name(s *seq, n int) {
	if !e.cfg.PrefixCaching {
		return
	}
	size := e.cfg.BlockSize
	hashes := s.hashesUpTo(n/size, size)
	for ; s.named < len(hashes); s.named++ {
		e.pool.Name(s.blocks[s.named], hashes[s.named])
		if s.named < len(s.req.Prompt)/size && s.verdict != fetch {
			s.created += size
		}
	}
}

func (e *Engine) admit(p *pass, budget int) {
	for len(e.waiting) > 0 && budget > 0 && len(e.running) < e.cfg.MaxNumSeqs && !e.dead {
		s := e.waiting[0]
		if !s.loaded && s.verdict != plain && s.verdict != keep {
			if !e.startFetch(s) {
				return
			}
			continue
		}
		if s.blocks == nil {
			e.lookup(s)
		}
		n := min(budget, len(s.tokens)-s.computed)
		if !e.grow(s, s.computed+n) {
			e.drop(s)
			return
		}
		e.count(s)
		e.name(s, s.computed+n)
		e.waiting = e.waiting[1:]
		e.running = append(e.running, s)
		s.phase = executing
		if s.scheduled.IsZero() {
			s.scheduled = time.Now()
		}
		p.add(s, n)
		budget -= n
	}
}

// drop gives back the blocks that a lookup found for a sequence that cannot be
// admitted yet. A sequence whose KV was fetched keeps its blocks.
func (e *Engine) drop(s *seq) {
	if s.loaded && !s.failed {
		return
	}
	e.pool.Release(s.blocks)
	s.rewind()
}

// lookup finds the cached prefix of a sequence. At least its last token is
// computed anew, because somebody has to yield the next one.
func (e *Engine) lookup(s *seq) {
	if !e.cfg.PrefixCaching || s.req.SkipPrefix {
		return
	}
	size := e.cfg.BlockSize
	s.blocks = e.pool.Match(s.hashesUpTo((len(s.tokens)-1)/size, size))
	s.named = len(s.blocks)
	s.computed = len(s.blocks) * size
}

// count accounts for a sequence's lookup once.
func (e *Engine) count(s *seq) {
	if s.looked {
		return
	}
	s.looked = true
	if s.verdict != fetch || s.failed {
		s.cached = min(s.computed, len(s.req.Prompt))
	}
	m, n := e.cfg.Metrics, len(s.req.Prompt)
	m.Add(m.PrefixQueries, float64(n))
	m.Add(m.PrefixHits, float64(s.cached))
	m.Add(m.CachedBySource, float64(s.cached), "source", "device")
	if e.cfg.Connector != nil {
		m.Add(m.ExternalQueries, float64(n-s.cached))
		m.Add(m.ExternalHits, float64(s.external))
		m.Add(m.CachedBySource, float64(s.external), "source", "p2p")
	}
}
