package choose

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Policy is how one of a pool is chosen.
type Policy string

const (
	// Auto is the default. Prefill: the one that will have computed the prompt
	// first, by its queue and by how much of the prompt it holds; among equals
	// the one on which all routers agree. Decode: the least loaded, by
	// sequences and KV cache.
	Auto Policy = "auto"
	// LeastLoaded goes by load alone.
	LeastLoaded Policy = "least_loaded"
	// PowerOfTwo is the less loaded of two at random.
	PowerOfTwo Policy = "power_of_two"
	// RoundRobin goes by nothing, in turn.
	RoundRobin Policy = "round_robin"
	// Session keeps a client's session on one instance (X-Session-ID), as long
	// as that has no more than a quarter above its share; Auto without one.
	Session Policy = "session"
)

// Policies lists every policy, the default first.
func Policies() []Policy { return []Policy{Auto, LeastLoaded, PowerOfTwo, RoundRobin, Session} }

// ParsePolicy reads a policy's name; empty is Auto.
func ParsePolicy(name string) (Policy, error) {
	if name == "" {
		return Auto, nil
	}
	var names []string
	for _, p := range Policies() {
		if string(p) == name {
			return p, nil
		}
		names = append(names, string(p))
	}
	return "", fmt.Errorf("policy %q: want one of %s", name, strings.Join(names, ", "))
}

// pickPrefill is the index of the chosen candidate.
func (c *Chooser) pickPrefill(candidates []*fleet.Instance, r *Request) int {
	now := c.cfg.Now()
	queue := func(s *state) float64 { return s.prefillQueue(now) + meanOr(s.meanPrompt, r.Bytes) }
	if c.cfg.Prefill != Auto && c.cfg.Prefill != "" {
		if n, ok := c.simple(c.cfg.Prefill, candidates, r, now, queue); ok {
			return n
		}
	}
	costs := c.scratch(len(candidates))
	for n, i := range candidates {
		s := c.of(i)
		costs[n] = (s.prefillQueue(now) + float64(c.uncached(i, r)) + 1) / s.share(now, c.cfg.SlowStart)
	}
	if len(r.Blocks) == 0 {
		return c.least(costs, blur)
	}
	// So little does not matter against finding the prefix again later, in this
	// router or another.
	low := costs[0]
	for _, x := range costs[1:] {
		low = min(low, x)
	}
	slack := max(2*BlockBytes, float64(r.Bytes)/4)
	at := r.Blocks[min(len(r.Blocks), placementBlocks)-1]
	best, bestHeld, bestRank := -1, 0, uint64(0)
	for n, i := range candidates {
		if costs[n] > low+slack {
			continue
		}
		held, rank := c.index.cached(i.Key(), r.Blocks), rendezvous(at, i.ID)
		if best < 0 || held > bestHeld || held == bestHeld && rank > bestRank {
			best, bestHeld, bestRank = n, held, rank
		}
	}
	return best
}

// placementBlocks is how much of a prompt's beginning decides where it is
// placed when nobody holds it: 4 KiB, a system prompt and its tools. More, and
// conversations that share one would each go elsewhere.
const placementBlocks = 8

// pickDecode is the index of the chosen candidate.
func (c *Chooser) pickDecode(candidates []*fleet.Instance, r *Request) int {
	now := c.cfg.Now()
	cost := func(s *state) float64 { return s.decodeCost(now) + 1 }
	if c.cfg.Decode != Auto && c.cfg.Decode != "" {
		if n, ok := c.simple(c.cfg.Decode, candidates, r, now, cost); ok {
			return n
		}
	}
	return c.least(c.costsOf(candidates, now, cost), blur)
}

// simple applies the policies that are the same for both pools; false where
// the policy has nothing to go by.
func (c *Chooser) simple(p Policy, candidates []*fleet.Instance, r *Request, now time.Time, cost func(*state) float64) (int, bool) {
	switch p {
	case RoundRobin:
		c.turn++
		return int((c.turn - 1) % uint64(len(candidates))), true
	case LeastLoaded:
		return c.least(c.costsOf(candidates, now, cost), 0), true
	case PowerOfTwo:
		costs := c.costsOf(candidates, now, cost)
		a := c.cfg.Intn(len(costs))
		if len(costs) == 1 {
			return a, true
		}
		b := c.cfg.Intn(len(costs) - 1)
		if b >= a { // another one
			b++
		}
		if costs[b] < costs[a] {
			a = b
		}
		return a, true
	case Session:
		if r.Session == "" {
			return 0, false
		}
		return c.session(candidates, r, c.costsOf(candidates, now, cost)), true
	}
	return 0, false
}

// session is the highest ranked candidate that is not above its bound:
// consistent hashing with bounded loads.
func (c *Chooser) session(candidates []*fleet.Instance, r *Request, costs []float64) int {
	mean := 0.0
	for _, x := range costs {
		mean += x / float64(len(costs))
	}
	at := xxhash.Sum64String(r.Session)
	best, bestRank := -1, uint64(0)
	for n, i := range candidates {
		if rank := rendezvous(at, i.ID); costs[n] <= 1.25*mean && (best < 0 || rank > bestRank) {
			best, bestRank = n, rank
		}
	}
	return best // somebody is not above the mean
}

func (c *Chooser) costsOf(candidates []*fleet.Instance, now time.Time, cost func(*state) float64) []float64 {
	costs := c.scratch(len(candidates))
	for n, i := range candidates {
		s := c.of(i)
		costs[n] = cost(s) / s.share(now, c.cfg.SlowStart)
	}
	return costs
}

func (c *Chooser) scratch(n int) []float64 {
	if cap(c.costs) < n {
		c.costs = make([]float64, n)
	}
	return c.costs[:n]
}

// blur is the relative difference in cost that does not count: within it the
// choice is random, or routers that read the same report would all go to the
// same instance.
const blur = 0.1

// least is the index of a random one of the lowest costs.
func (c *Chooser) least(costs []float64, blur float64) int {
	low := math.Inf(1)
	for _, x := range costs {
		low = min(low, x)
	}
	best, ties := -1, 0
	for n, x := range costs {
		if x > low*(1+blur) {
			continue
		}
		// Reservoir sampling: each of the tied is as likely as any other.
		if ties++; ties == 1 || c.cfg.Intn(ties) == 0 {
			best = n
		}
	}
	return best
}

func meanOr(mean float64, bytes int) float64 {
	if mean > 0 {
		return mean
	}
	return float64(bytes) + 1
}
