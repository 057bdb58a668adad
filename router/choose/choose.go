package choose

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Request is what of a request decides where it goes.
type Request struct {
	Bytes   int      // length of the prompt's text
	Blocks  []uint64 // of that text; see Blocks
	Session string   // the client's session; empty: none
}

// Config says how to choose. The zero Config is the default.
type Config struct {
	// Prefill and Decode are the policies of the two pools, default Auto.
	Prefill, Decode Policy
	// IndexBlocks bounds what is remembered of each instance's prompts, default
	// DefaultIndexBlocks; negative: nothing is.
	IndexBlocks int
	// SlowStart is how long a new instance takes to its full share. 0: none.
	SlowStart time.Duration
	// Now and Intn are the clock and the dice; nil: the real ones.
	Now  func() time.Time
	Intn func(n int) int
}

// DefaultIndexBlocks is 64 MiB of prompt text for each instance, some 16
// million tokens, in 4 MiB of memory.
const DefaultIndexBlocks = 128 << 10

// Chooser chooses for all requests of a router. Its methods may be called
// concurrently.
type Chooser struct {
	cfg   Config
	mu    sync.Mutex
	known map[fleet.Key]*state
	index *prefixIndex
	turn  uint64 // of round robin
	began time.Time
	costs []float64 // scratch
}

// New makes a Chooser.
func New(cfg Config) *Chooser {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Intn == nil {
		cfg.Intn = rand.IntN
	}
	if cfg.IndexBlocks == 0 {
		cfg.IndexBlocks = DefaultIndexBlocks
	}
	return &Chooser{cfg: cfg, known: map[fleet.Key]*state{}, index: newPrefixIndex(cfg.IndexBlocks), began: cfg.Now()}
}

// of is an instance's state; mu must be held. Whoever is there when the router
// starts is not new.
func (c *Chooser) of(i *fleet.Instance) *state {
	k := i.Key()
	s := c.known[k]
	if s == nil {
		s = &state{}
		if now := c.cfg.Now(); now.Sub(c.began) > startGrace {
			s.since = now
		}
		c.known[k] = s
	}
	return s
}

const startGrace = 5 * time.Second

// Prefill chooses who reads the prompt, nil if there is no candidate, and
// counts the request there until release, which must be called once.
func (c *Chooser) Prefill(candidates []*fleet.Instance, r *Request) (chosen *fleet.Instance, release func()) {
	if len(candidates) == 0 {
		return nil, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	chosen = candidates[c.pickPrefill(candidates, r)]
	s := c.of(chosen)
	s.meanPrompt += (float64(r.Bytes) - s.meanPrompt) / 8
	add := Load{Prefills: 1, PrefillBytes: int64(c.uncached(chosen, r))}
	c.remember(chosen, r)
	return chosen, c.count(s, add)
}

// Decode chooses who writes the answer, as Prefill.
func (c *Chooser) Decode(candidates []*fleet.Instance, r *Request) (chosen *fleet.Instance, release func()) {
	if len(candidates) == 0 {
		return nil, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	chosen = candidates[c.pickDecode(candidates, r)]
	c.remember(chosen, r)
	return chosen, c.count(c.of(chosen), Load{Decodes: 1})
}

func (c *Chooser) count(s *state, add Load) (release func()) {
	s.own.add(add, 1)
	return func() {
		c.mu.Lock()
		s.own.add(add, -1)
		c.mu.Unlock()
	}
}

func (c *Chooser) remember(i *fleet.Instance, r *Request) {
	if c.cfg.IndexBlocks > 0 {
		c.index.add(i.Key(), r.Blocks)
	}
}

// uncached is how many bytes of the prompt the instance is not known to hold.
func (c *Chooser) uncached(i *fleet.Instance, r *Request) int {
	return max(0, r.Bytes-c.index.cached(i.Key(), r.Blocks)*BlockBytes)
}

// Uncached is the least that any of the instances would have to compute of the
// prompt, in bytes, and which one that is; nil if there is none.
func (c *Chooser) Uncached(instances []*fleet.Instance, r *Request) (bytes int, who *fleet.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range instances {
		if n := c.uncached(i, r); who == nil || n < bytes {
			bytes, who = n, i
		}
	}
	return bytes, who
}

// Reported takes in what an instance said of its load.
func (c *Chooser) Reported(i *fleet.Instance, r Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of(i)
	s.report, s.reportedAt, s.ownThen = r, c.cfg.Now(), s.own
}

// Restarted forgets what an instance held, but for the request that showed it to
// be another engine now, and lets it start slowly again.
func (c *Chooser) Restarted(i *fleet.Instance, by *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.forget(i.Key())
	c.remember(i, by)
	s := c.of(i)
	s.since, s.reportedAt = c.cfg.Now(), time.Time{}
}

// SetWeight gives an instance a share other than 1 of what its pool gets.
func (c *Chooser) SetWeight(i *fleet.Instance, weight float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(i).weight = weight
}

// Keep forgets every instance that is not in the snapshot and has nothing in
// flight, and notes who is new. To be called with every new snapshot.
func (c *Chooser) Keep(s *fleet.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	there := make(map[fleet.Key]bool, len(s.Instances))
	for _, i := range s.Instances {
		there[i.Key()] = true
		c.of(i)
	}
	for k, st := range c.known {
		if !there[k] && st.own == (Load{}) {
			delete(c.known, k)
			c.index.forget(k)
		}
	}
}

// View is what is known of an instance, for people to look at.
type View struct {
	Load
	Report   Report
	Reported time.Time // zero: never
	Weight   float64   // as set, 1 unless it was
	Share    float64   // Weight, less while it starts
	Blocks   int       // of prompts that it is believed to hold
}

// Of is the view of one instance.
func (c *Chooser) Of(i *fleet.Instance) View {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.known[i.Key()]
	if s == nil {
		return View{Weight: 1, Share: 1}
	}
	w := s.weight
	if w == 0 {
		w = 1
	}
	return View{
		Load: s.own, Report: s.report, Reported: s.reportedAt, Weight: w,
		Share: s.share(c.cfg.Now(), c.cfg.SlowStart), Blocks: c.index.size(i.Key()),
	}
}
