package engine

import (
	"context"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/sidechannel"
)

// peers is the prefill engines that a decode has met. As in vLLM, an engine is
// known by its id: once met, its address in later requests is not looked at,
// and when it has died requests for it fail at once.
type peers struct {
	dial sidechannel.DialFunc

	mu      sync.Mutex
	met     map[string]*sidechannel.Peer // by engine id
	meeting map[string]*meeting          // by engine id and address
}

type meeting struct {
	peer *sidechannel.Peer
	done chan struct{}
	err  error
}

func newPeers(dial sidechannel.DialFunc) *peers {
	return &peers{dial: dial, met: map[string]*sidechannel.Peer{}, meeting: map[string]*meeting{}}
}

// get finds the engine or meets it; met reports whether it was known.
func (p *peers) get(ctx context.Context, r remote) (peer *sidechannel.Peer, met bool, err error) {
	p.mu.Lock()
	if peer, ok := p.met[r.engineID]; ok {
		p.mu.Unlock()
		return peer, true, nil
	}
	key := r.engineID + "@" + r.address
	m, ok := p.meeting[key]
	if !ok {
		m = &meeting{peer: sidechannel.NewPeer(p.dial, r.address, r.engineID), done: make(chan struct{})}
		p.meeting[key] = m
	}
	p.mu.Unlock()
	if ok {
		select {
		case <-m.done:
			return m.peer, true, m.err
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	m.err = m.peer.Connect(ctx)
	p.mu.Lock()
	delete(p.meeting, key)
	if m.err == nil {
		p.met[r.engineID] = m.peer
	}
	p.mu.Unlock()
	close(m.done)
	return m.peer, false, m.err
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.met {
		peer.Close()
	}
}

// heartbeats keeps the leases alive of requests that wait here: vLLM sends one
// in each sixth of the lease.
func (e *Engine) heartbeats() {
	defer e.wg.Done()
	tick := time.NewTicker(max(e.cfg.Connector.Lease/6, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.heartbeat()
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *Engine) heartbeat() {
	waiting := map[string][]string{}
	origin := map[string]remote{}
	e.call(func() {
		for _, s := range e.all() {
			if s.verdict == fetch && !s.loaded {
				waiting[s.remote.engineID] = append(waiting[s.remote.engineID], s.remote.requestID)
				origin[s.remote.engineID] = s.remote
			}
		}
	})
	for id, requests := range waiting {
		ctx, cancel := context.WithTimeout(e.ctx, e.cfg.Connector.Lease/6)
		if peer, _, err := e.peers.get(ctx, origin[id]); err == nil {
			_ = peer.Heartbeat(ctx, requests) // the next one may get through
		}
		cancel()
	}
}
