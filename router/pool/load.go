package pool

import (
	"math/rand/v2"
	"sync"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Load is what this router has in flight at one instance.
type Load struct {
	Prefills     int   // requests in leg 1
	PrefillBytes int64 // their bodies: the prompt's length is what leg 1 costs
	Decodes      int   // sequences in leg 2 or on the local path
}

// Loads holds the load of every instance, keyed by identity, so that counts
// survive snapshots in which nothing but a check's output changed.
type Loads struct {
	mu sync.Mutex
	m  map[key]Load
	// intn breaks ties; random, so that two routers with equal counts do not
	// both send to the first of the list.
	intn func(n int) int
}

// key is an instance's identity: an ID that comes back at another address is
// another server.
type key struct{ id, url string }

// NewLoads is empty; intn is the tie break, nil for random.
func NewLoads(intn func(n int) int) *Loads {
	if intn == nil {
		intn = rand.IntN
	}
	return &Loads{m: map[key]Load{}, intn: intn}
}

// Of is the load of one instance.
func (l *Loads) Of(i *fleet.Instance) Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m[key{i.ID, i.URL}]
}

// Prefill picks the candidate with the fewest prompt bytes in flight and
// counts the request there until release, which must be called once. It
// returns nil if there is no candidate.
func (l *Loads) Prefill(candidates []*fleet.Instance, bytes int64) (*fleet.Instance, func()) {
	return l.acquire(candidates, func(x Load) int64 { return x.PrefillBytes }, Load{Prefills: 1, PrefillBytes: bytes})
}

// Decode picks the candidate with the fewest sequences in flight, as Prefill.
func (l *Loads) Decode(candidates []*fleet.Instance) (*fleet.Instance, func()) {
	return l.acquire(candidates, func(x Load) int64 { return int64(x.Decodes) }, Load{Decodes: 1})
}

// acquire picks and counts under one lock: two requests that arrive together
// must not both see the same instance idle.
func (l *Loads) acquire(candidates []*fleet.Instance, cost func(Load) int64, add Load) (*fleet.Instance, func()) {
	if len(candidates) == 0 {
		return nil, func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	costs := make([]int64, len(candidates))
	for n, i := range candidates {
		costs[n] = cost(l.m[key{i.ID, i.URL}])
	}
	i := candidates[leastLoaded(costs, l.intn)]
	l.add(i, add, 1)
	return i, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.add(i, add, -1)
	}
}

// add counts d in (sign 1) or out (-1); an idle instance is forgotten, so
// that the map holds only what is in flight.
func (l *Loads) add(i *fleet.Instance, d Load, sign int) {
	k := key{i.ID, i.URL}
	x := l.m[k]
	x.Prefills += sign * d.Prefills
	x.PrefillBytes += int64(sign) * d.PrefillBytes
	x.Decodes += sign * d.Decodes
	if x == (Load{}) {
		delete(l.m, k)
		return
	}
	l.m[k] = x
}

// leastLoaded is the index of the lowest cost, a random one of several.
func leastLoaded(costs []int64, intn func(n int) int) int {
	best, ties := 0, 1
	for n := 1; n < len(costs); n++ {
		switch {
		case costs[n] < costs[best]:
			best, ties = n, 1
		case costs[n] == costs[best]:
			// Reservoir sampling: each of the tied is as likely as any other.
			if ties++; intn(ties) == 0 {
				best = n
			}
		}
	}
	return best
}
