package roster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
)

// Source says who is there.
type Source interface {
	Snapshot() *fleet.Snapshot
	// Changed receives after the set of instances changed; nil if it never does.
	Changed() <-chan struct{}
}

// Config is what a Roster is made of.
type Config struct {
	Source Source
	// Ask reads one instance's list. It must end with its context.
	Ask    func(context.Context, *fleet.Instance) (pool.Listed, error)
	Logger hclog.Logger
}

const (
	// every is how often an instance is asked if nothing happens.
	every = 30 * time.Second
	// gap is the least time between two rounds that requests bring about,
	// whatever they ask for.
	gap = time.Second
	// patience is what an instance has for its answer. A request for an unknown
	// model waits for the slowest.
	patience = 2 * time.Second
	// atOnce is how many instances are asked at the same time.
	atOnce = 8
)

// Lists are what instances listed. Nobody changes one.
type Lists = map[fleet.Key]pool.Listed

// Roster keeps what instances listed. Its methods may be called concurrently.
type Roster struct {
	cfg   Config
	lists atomic.Pointer[Lists]
	wake  chan struct{}

	mu     sync.Mutex // guards what is left for the owner
	orders orders
	runs   bool

	// The owner's.
	entries map[fleet.Key]*entry
	last    time.Time // round that requests brought about
}

// orders are what others want of the owner.
type orders struct {
	found     chan struct{} // closed when everybody was asked; nil: nobody waits for it
	doubted   map[fleet.Key]bool
	forgotten map[fleet.Key]bool
}

// entry is one instance in the owner's books.
type entry struct {
	listed pool.Listed // no names: it never answered
	asked  time.Time   // zero: not yet, or not since it came back
	failed bool        // the last time
}

// New makes a roster that knows nothing; it does no I/O.
func New(cfg Config) *Roster {
	r := &Roster{cfg: cfg, wake: make(chan struct{}, 1), entries: map[fleet.Key]*entry{}}
	r.lists.Store(&Lists{})
	return r
}

// Lists is what is known now. It is another pointer whenever it is not the same.
func (r *Roster) Lists() *Lists { return r.lists.Load() }

// Find has everybody asked who is usable, and returns when that is done, or
// takes too long, ctx ends, or the roster does not run. All who come within a
// second wait for the same round.
func (r *Roster) Find(ctx context.Context) {
	r.mu.Lock()
	if !r.runs {
		r.mu.Unlock()
		return
	}
	if r.orders.found == nil {
		r.orders.found = make(chan struct{})
	}
	found := r.orders.found
	r.mu.Unlock()
	r.poke()
	limit := time.NewTimer(gap + patience)
	defer limit.Stop()
	select {
	case <-found:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// Doubt has an instance asked soon: it did not know a name that it had listed.
func (r *Roster) Doubt(k fleet.Key) {
	r.order(func(o *orders) { o.doubted = mark(o.doubted, k) })
}

// Forget drops what an instance listed, because it was restarted, and has it
// asked soon.
func (r *Roster) Forget(k fleet.Key) {
	r.order(func(o *orders) { o.forgotten, o.doubted = mark(o.forgotten, k), mark(o.doubted, k) })
}

func (r *Roster) order(change func(*orders)) {
	r.mu.Lock()
	if r.runs { // nobody would ever carry it out
		change(&r.orders)
	}
	r.mu.Unlock()
	r.poke()
}

func mark(m map[fleet.Key]bool, k fleet.Key) map[fleet.Key]bool {
	if m == nil {
		m = map[fleet.Key]bool{}
	}
	m[k] = true
	return m
}

func (r *Roster) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it will wake up anyway
	}
}
