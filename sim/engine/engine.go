package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// Engine schedules sequences and owns the KV cache.
type Engine struct {
	cfg    Config
	inbox  chan func()
	done   chan struct{} // closed when the loop has ended
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	peers  *peers

	// Owned by the loop.
	pool     *kv.Pool
	waiting  []*seq // for capacity, first come first served
	deferred []*seq // for KV from a prefill
	running  []*seq
	pass     *pass // in flight
	leases   map[string]*lease
	idle     []chan struct{} // closed when nothing is left to do
	dead     bool
}

// New starts an engine; Close ends it.
func New(cfg Config) *Engine {
	e := &Engine{
		cfg: cfg, inbox: make(chan func()), done: make(chan struct{}),
		pool: kv.NewPool(cfg.NumBlocks, cfg.BlockSize), leases: map[string]*lease{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if cfg.Connector != nil {
		e.peers = newPeers(cfg.Connector.Dial)
		e.wg.Add(1)
		go e.heartbeats()
	}
	e.wg.Add(1)
	go e.loop()
	return e
}

// Close ends the engine at once; sequences in flight get ErrDead.
func (e *Engine) Close() {
	e.cancel()
	e.wg.Wait()
	if e.peers != nil {
		e.peers.close()
	}
}

// Dead is closed when the engine has ended, for whatever reason.
func (e *Engine) Dead() <-chan struct{} { return e.done }

func (e *Engine) loop() {
	defer e.wg.Done()
	defer close(e.done)
	timer := time.NewTimer(time.Hour)
	leaseTimer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer leaseTimer.Stop()
	for !e.dead {
		if e.pass == nil {
			if e.pass = e.schedule(); e.pass != nil {
				timer.Reset(e.pass.duration)
			}
			e.gauges()
			if e.dead {
				break // a waiting request was lethal
			}
		}
		e.settle()
		leaseTimer.Reset(e.nextExpiry())
		select {
		case f := <-e.inbox:
			f()
		case <-timer.C:
			p := e.pass
			e.pass = nil
			e.apply(p)
		case <-leaseTimer.C:
			e.expireLeases()
		case <-e.ctx.Done():
			e.dead = true
		}
	}
	e.endAll()
}

// post hands a function to the loop; false when the loop has ended.
func (e *Engine) post(f func()) bool {
	select {
	case e.inbox <- f:
		return true
	case <-e.done:
		return false
	}
}

// call hands a function to the loop and waits for it.
func (e *Engine) call(f func()) bool {
	done := make(chan struct{})
	if !e.post(func() { f(); close(done) }) {
		return false
	}
	<-done
	return true
}

// Submit puts a sequence into the queue.
func (e *Engine) Submit(req Request) *Stream {
	out := newStream(e)
	s := &seq{req: req, out: out, state: kv.Start(req.Adapter), tokens: slices.Clone(req.Prompt), arrived: time.Now()}
	out.seq = s
	if e.cfg.Connector != nil && req.Params != nil {
		// Not only once it is queued: its client may leave before that.
		s.verdict, s.remote = judge(req.Params)
	}
	if d := e.cfg.Profile.Request; d > 0 {
		time.AfterFunc(d, func() { e.post(func() { e.add(s) }) })
	} else {
		e.post(func() { e.add(s) })
	}
	return out
}

func (e *Engine) add(s *seq) {
	if s.phase == finished {
		return
	}
	if s.verdict == fetch && s.req.SkipPrefix {
		// Something is asked of every position of the prompt, so all of it is
		// computed here, and the prefill's blocks are let go.
		s.verdict = plain
		e.goRelease(s.remote)
	}
	s.phase = queued
	e.waiting = append(e.waiting, s)
}

// abort ends a sequence whose client has gone.
func (e *Engine) abort(s *seq) {
	if s.phase == finished {
		return
	}
	if s.verdict == hang && s.phase == fetching {
		e.die("aborting a request that waits for KV of an unknown origin")
		return
	}
	if s.phase == executing && e.pass != nil && e.pass.includes(s) {
		s.aborted = true // its blocks are being written: freed when the pass ends
		return
	}
	if s.verdict == fetch && s.phase == queued && !s.loaded {
		// No fetch has begun that could let the prefill's blocks go.
		e.goRelease(s.remote)
	}
	e.finish(s, Output{Finish: "abort"})
}

// AbortAll ends every sequence with an error, as a stop without a drain does.
func (e *Engine) AbortAll() {
	e.call(func() {
		for _, s := range e.all() {
			e.finish(s, Output{Err: ErrDead})
		}
	})
}

// all is every sequence that has not finished.
func (e *Engine) all() []*seq {
	return slices.Concat(e.running, e.deferred, e.waiting)
}

// die ends the engine the way a failed assertion ends a real one.
func (e *Engine) die(reason string) {
	if e.dead {
		return
	}
	e.dead = true
	e.cfg.Logf("ERROR EngineCore encountered a fatal error: %s", reason)
	if e.cfg.OnDeath != nil {
		e.cfg.OnDeath(reason)
	}
}

func (e *Engine) endAll() {
	for _, s := range e.all() {
		e.finish(s, Output{Err: ErrDead})
	}
	e.gauges()
	for _, c := range e.idle {
		close(c)
	}
	e.idle = nil
	e.cancel()
}

// WaitIdle waits until nothing runs or waits and no lease is outstanding, or
// the engine has ended.
func (e *Engine) WaitIdle(ctx context.Context) error {
	c := make(chan struct{})
	if !e.post(func() { e.idle = append(e.idle, c) }) {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle tells those who wait for it that the engine is idle.
func (e *Engine) settle() {
	if len(e.idle) == 0 || e.pass != nil || len(e.leases) > 0 || len(e.all()) > 0 {
		return
	}
	for _, c := range e.idle {
		close(c)
	}
	e.idle = nil
}

// Stats is a look at the queues.
type Stats struct {
	Running, Waiting, Deferred, Leases, UsedBlocks int
}

// Stats looks at the queues; all zero once the engine has ended.
func (e *Engine) Stats() Stats {
	var st Stats
	e.call(func() {
		st = Stats{len(e.running), len(e.waiting), len(e.deferred), len(e.leases), e.pool.Used()}
	})
	return st
}

// ResetPrefixCache forgets all cached prefixes.
func (e *Engine) ResetPrefixCache() { e.call(e.pool.Forget) }

func (e *Engine) gauges() {
	m := e.cfg.Metrics
	m.Set(m.Running, float64(len(e.running)))
	m.Set(m.Waiting, float64(len(e.waiting)+len(e.deferred)))
	m.Set(m.WaitingByReason, float64(len(e.waiting)), "reason", "capacity")
	m.Set(m.WaitingByReason, float64(len(e.deferred)), "reason", "deferred")
	m.Set(m.KVUsage, e.pool.Usage())
	if m.FetchByStage != nil {
		toStart := 0
		for _, s := range e.waiting {
			if s.verdict == fetch && !s.loaded {
				toStart++
			}
		}
		m.Set(m.FetchByStage, float64(toStart), "stage", "waiting_to_start")
		m.Set(m.FetchByStage, float64(len(e.deferred)), "stage", "in_progress")
	}
}

// Kill ends the engine as a lethal request does.
func (e *Engine) Kill() { e.call(func() { e.die("killed") }) }

// Silence ends the work without a word to those who wait for it: vLLM's engine
// process is killed when a drain takes too long, and its API server then hangs.
func (e *Engine) Silence() {
	e.call(func() {
		for _, s := range e.all() {
			s.out = newStream(e)
			e.finish(s, Output{Err: ErrDead})
		}
	})
}
