package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// startFetch takes the first waiting sequence out of the queue and fetches its
// KV. False when there are no blocks for it yet.
func (e *Engine) startFetch(s *seq) bool {
	if s.verdict == lethal {
		e.die("assertion on kv_transfer_params")
		return true
	}
	e.lookup(s)
	local := len(s.blocks)
	if !e.grow(s, len(s.tokens)) {
		e.drop(s)
		return false
	}
	s.cached = local * e.cfg.BlockSize
	s.external = len(s.req.Prompt) - s.cached
	e.waiting = e.waiting[1:]
	e.deferred = append(e.deferred, s)
	s.phase = fetching
	s.scheduled = time.Now()
	e.count(s)
	if s.verdict == hang {
		e.cfg.Logf("WARNING request %s: kv_transfer_params lack a key; nothing will fetch its KV", s.req.ID)
		return true
	}
	want := len(s.blocks) - local
	if want > len(s.remote.blocks) {
		e.die("the prompt needs more blocks than remote_block_ids lists")
		return true
	}
	// A prefill's list may be longer, when this side has a prefix cached: the
	// last ones are meant, whatever prompt they are of.
	ids := s.remote.blocks[len(s.remote.blocks)-want:]
	ctx, cancel := context.WithCancel(e.ctx)
	s.cancel = cancel
	e.wg.Add(1)
	go e.fetch(ctx, s, ids, s.external)
	return true
}

// fetched is what a fetch brought back.
type fetched struct {
	blocks     [][]kv.Slot
	post, xfer time.Duration
	err        error
}

// fetch runs in its own goroutine.
func (e *Engine) fetch(ctx context.Context, s *seq, ids []int, n int) {
	defer e.wg.Done()
	res := e.transfer(ctx, s.remote, ids, n)
	if res.err == nil || ctx.Err() != nil {
		e.release(s.remote)
	}
	if res.err == nil {
		sleep(ctx, e.cfg.Profile.Receipt(n))
	}
	e.post(func() { e.received(s, ids, res) })
}

// transfer shakes hands if need be and reads the blocks, and takes at least as
// long over each as the profile says.
func (e *Engine) transfer(ctx context.Context, r remote, ids []int, n int) (res fetched) {
	prof := e.cfg.Profile
	start := time.Now()
	peer, met, err := e.peers.get(ctx, r)
	if err != nil {
		return fetched{err: err}
	}
	if !met {
		sleep(ctx, prof.Handshake-time.Since(start))
	}
	start = time.Now()
	blocks, _, err := peer.Read(ctx, ids, e.cfg.BlockSize)
	if err != nil {
		return fetched{err: err}
	}
	sleep(ctx, prof.Transfer(n)-time.Since(start))
	return fetched{blocks: blocks, post: prof.TransferPost / 4, xfer: time.Since(start), err: ctx.Err()}
}

// release tells the prefill that the blocks are no longer needed. It outlives
// the request, because an aborted one must free them too.
func (e *Engine) release(r remote) {
	ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
	defer cancel()
	peer, _, err := e.peers.get(ctx, r)
	if err == nil {
		err = peer.Done(ctx, r.requestID)
	}
	if err != nil && e.ctx.Err() == nil {
		m := e.cfg.Metrics
		m.Add(m.FailedNotifications, 1)
		m.Add(m.FailedTransfers, 1)
		e.cfg.Logf("WARNING notify prefill of request %s: %v", r.requestID, err)
	}
}

// received takes a fetch's result in the loop.
func (e *Engine) received(s *seq, ids []int, res fetched) {
	m := e.cfg.Metrics
	if res.err == nil {
		m.Observe(m.XferTime, res.xfer.Seconds())
		m.Observe(m.PostTime, res.post.Seconds())
		m.Observe(m.Bytes, float64(len(ids)*e.cfg.BlockSize*e.cfg.Profile.KVBytesPerToken))
		m.Observe(m.Descriptors, float64(e.cfg.Profile.Layers*runs(ids)))
	} else if !errors.Is(res.err, context.Canceled) {
		m.Add(m.FailedTransfers, 1)
		e.cfg.Logf("ERROR KV load of request %s: %v", s.req.ID, res.err)
	}
	if s.phase != fetching {
		return
	}
	s.loaded = true
	switch {
	case res.err == nil:
		at := len(s.blocks) - len(ids)
		for i, slots := range res.blocks {
			e.pool.SetAll(s.blocks[at+i], slots)
		}
		s.computed = len(s.req.Prompt) - 1
		e.name(s, len(s.req.Prompt))
	case e.cfg.Connector.Recompute:
		e.pool.Release(s.blocks)
		s.rewind()
		s.failed, s.external, s.cached = true, 0, 0
	default:
		e.finish(s, Output{Err: ErrLoad})
		return
	}
	e.deferred = remove(e.deferred, s)
	s.phase = queued
	// In front: its blocks are taken already.
	e.waiting = append([]*seq{s}, e.waiting...)
}

// Reject frees the blocks at the prefill of a request that was refused before
// it reached the engine. It does not wait.
func (e *Engine) Reject(params map[string]any) {
	if e.cfg.Connector == nil {
		return
	}
	v, r := judge(params)
	if v != fetch {
		return
	}
	e.post(func() { e.goRelease(r) })
}

// goRelease releases in a goroutine; only the loop may call it.
func (e *Engine) goRelease(r remote) {
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		e.release(r)
	}()
}

// runs counts stretches of consecutive blocks; a transfer has one descriptor
// for each and layer.
func runs(ids []int) int {
	n := 0
	for i, id := range ids {
		if i == 0 || id != ids[i-1]+1 {
			n++
		}
	}
	return n
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
