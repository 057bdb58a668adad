package engine

import (
	"fmt"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// lease is the blocks of a finished prefill, kept for its decode.
type lease struct {
	blocks []int
	until  time.Time
}

// leaseOut keeps a finished sequence's blocks and says where they are.
func (e *Engine) leaseOut(s *seq) *TransferParams {
	c := e.cfg.Connector
	e.leases[s.req.ID] = &lease{blocks: s.blocks, until: time.Now().Add(c.Lease)}
	ids := append([]int{}, s.blocks...)
	p := &TransferParams{
		DoRemotePrefill: true, BlockIDs: [][]int{ids}, EngineID: c.EngineID, RequestID: s.req.ID,
		Host: c.Host, Port: c.Port, TPSize: max(c.TPSize, 1), DCPSize: 1, PPSize: 1,
		NumTokens: len(s.tokens) - 1, TransferMode: "pull",
	}
	if s.req.MaxTokens == 1 {
		p.CachedTokens = &s.cached
	}
	return p
}

func (e *Engine) nextExpiry() time.Duration {
	d := time.Hour
	for _, l := range e.leases {
		d = min(d, time.Until(l.until))
	}
	return max(d, 0)
}

func (e *Engine) expireLeases() {
	now := time.Now()
	for id, l := range e.leases {
		if l.until.After(now) {
			continue
		}
		e.cfg.Logf("WARNING Releasing expired KV blocks of request %s: no decode asked for them in time", id)
		e.pool.Release(l.blocks)
		delete(e.leases, id)
		e.cfg.Metrics.Add(e.cfg.Metrics.Expired, 1)
	}
	e.gauges()
}

// ReadBlocks returns what blocks hold now; whether anybody leased them is not
// asked, as an RDMA read does not.
func (e *Engine) ReadBlocks(ids []int) ([][]kv.Slot, error) {
	var out [][]kv.Slot
	var err error
	ok := e.call(func() {
		for _, id := range ids {
			if !e.pool.Has(id) {
				err = fmt.Errorf("block %d does not exist", id)
				return
			}
			out = append(out, e.pool.Slots(id))
		}
	})
	if !ok {
		return nil, ErrDead
	}
	return out, err
}

// ReadDone frees the blocks of requests that have been read.
func (e *Engine) ReadDone(requests []string) {
	e.call(func() {
		for _, id := range requests {
			l, ok := e.leases[id]
			if !ok {
				e.cfg.Metrics.Add(e.cfg.Metrics.AfterExpiry, 1)
				continue
			}
			e.pool.Release(l.blocks)
			delete(e.leases, id)
		}
		e.gauges()
	})
}

// Heartbeat extends leases of requests that a decode still wants.
func (e *Engine) Heartbeat(requests []string) {
	e.call(func() {
		until := time.Now().Add(e.cfg.Connector.Lease * 2 / 3)
		for _, id := range requests {
			if l, ok := e.leases[id]; ok && l.until.Before(until) {
				l.until = until
			}
		}
	})
}
