package breaker

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// State of one instance.
type State string

const (
	Closed   State = "closed"    // it gets requests
	Open     State = "open"      // it gets none until its time has passed
	HalfOpen State = "half_open" // it gets one at a time, and the first outcome decides
)

// States lists every state.
func States() []State { return []State{Closed, Open, HalfOpen} }

// Config says when an instance is kept away from. Zero fields mean the default.
type Config struct {
	// Failures in a row open the breaker, default 5.
	Failures int
	// Rate is the share of failures, of at least MinRequests within about half
	// a minute, that opens it as well: default 0.5.
	Rate float64
	// MinRequests default 10.
	MinRequests float64
	// Open is how long it stays open the first time, default 5s; it doubles with
	// each time in a row up to MaxOpen, default 1m.
	Open, MaxOpen time.Duration
	// MaxEjected is the share of a pool that may be kept away from at once,
	// default 0.5. One instance is always left.
	MaxEjected float64
	// Now is the clock; nil: the real one.
	Now func() time.Time
}

// Breakers has one breaker for each instance. Its methods may be called
// concurrently.
type Breakers struct {
	cfg  Config
	mu   sync.Mutex
	m    map[fleet.Key]*breaker
	open atomic.Int64 // breakers that are not closed: with none, nothing is looked up
}

// breaker is one instance's.
type breaker struct {
	row       int     // failures in a row
	good, bad float64 // of late, fading
	at        time.Time
	opened    time.Time // zero: closed
	times     int       // opened in a row
	probing   bool
}

// New makes breakers that are all closed.
func New(cfg Config) *Breakers {
	def := func(v *float64, d float64) {
		if *v <= 0 {
			*v = d
		}
	}
	if cfg.Failures <= 0 {
		cfg.Failures = 5
	}
	def(&cfg.Rate, 0.5)
	def(&cfg.MinRequests, 10)
	def(&cfg.MaxEjected, 0.5)
	if cfg.Open <= 0 {
		cfg.Open = 5 * time.Second
	}
	if cfg.MaxOpen <= 0 {
		cfg.MaxOpen = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Breakers{cfg: cfg, m: map[fleet.Key]*breaker{}}
}

// fadeTime is how long it takes until a request counts 1/e.
const fadeTime = 15 * time.Second

func (b *Breakers) of(i *fleet.Instance) *breaker {
	k := i.Key()
	x := b.m[k]
	if x == nil {
		x = &breaker{at: b.cfg.Now()}
		b.m[k] = x
	}
	return x
}

// state is what a breaker is at that time.
func (b *Breakers) state(x *breaker, now time.Time) State {
	switch {
	case x.opened.IsZero():
		return Closed
	case now.Sub(x.opened) < b.openFor(x):
		return Open
	}
	return HalfOpen
}

func (b *Breakers) openFor(x *breaker) time.Duration {
	return min(b.cfg.Open<<min(x.times-1, 16), b.cfg.MaxOpen)
}

// Allowed leaves out the instances that are kept away from. Of a pool that
// fails as a whole those that have been out for longest are let back in.
func (b *Breakers) Allowed(pool []*fleet.Instance) []*fleet.Instance {
	if b.open.Load() == 0 || len(pool) < 2 {
		return pool
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	var in, out []*fleet.Instance
	for _, i := range pool {
		x := b.m[i.Key()]
		if x == nil {
			in = append(in, i)
			continue
		}
		switch s := b.state(x, now); {
		case s == Open, s == HalfOpen && x.probing:
			out = append(out, i)
		default:
			in = append(in, i)
		}
	}
	most := min(int(float64(len(pool))*b.cfg.MaxEjected), len(pool)-1)
	if len(out) > most {
		slices.SortFunc(out, func(a, c *fleet.Instance) int { return b.m[a.Key()].opened.Compare(b.m[c.Key()].opened) })
		in = append(in, out[:len(out)-most]...)
	}
	return in
}

// Sent says that a request goes there; of an instance that is being tried
// again, others then wait for its outcome.
func (b *Breakers) Sent(i *fleet.Instance) {
	if b.open.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.m[i.Key()]; x != nil && b.state(x, b.cfg.Now()) == HalfOpen {
		x.probing = true
	}
}

// Outcome of a request that was sent.
type Outcome int

const (
	// Unknown: the client left, or the instance said that it is busy. It is
	// neither well nor ill.
	Unknown Outcome = iota
	Good
	Bad
)

// Ended takes in how a request that was sent went. It reports whether the
// breaker opened by it.
func (b *Breakers) Ended(i *fleet.Instance, o Outcome) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, now := b.of(i), b.cfg.Now()
	was := b.state(x, now)
	x.probing = false
	if o == Unknown {
		return false
	}
	fade := math.Exp(-float64(now.Sub(x.at)) / float64(fadeTime))
	x.good, x.bad, x.at = x.good*fade, x.bad*fade, now
	if o == Good {
		x.good, x.row = x.good+1, 0
		if was == HalfOpen {
			b.close(x)
		}
		return false
	}
	x.bad, x.row = x.bad+1, x.row+1
	total := x.good + x.bad
	if was == HalfOpen || was == Closed && (x.row >= b.cfg.Failures || total >= b.cfg.MinRequests && x.bad >= b.cfg.Rate*total) {
		b.trip(x, now)
		return true
	}
	return false
}

func (b *Breakers) trip(x *breaker, now time.Time) {
	if x.opened.IsZero() {
		b.open.Add(1)
	}
	x.opened = now
	x.times++
}

func (b *Breakers) close(x *breaker) {
	b.open.Add(-1)
	*x = breaker{at: x.at}
}

// State of one instance.
func (b *Breakers) State(i *fleet.Instance) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.m[i.Key()]; x != nil {
		return b.state(x, b.cfg.Now())
	}
	return Closed
}

// Keep forgets the instances that are not in the snapshot.
func (b *Breakers) Keep(s *fleet.Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	there := make(map[fleet.Key]bool, len(s.Instances))
	for _, i := range s.Instances {
		there[i.Key()] = true
	}
	for k, x := range b.m {
		if there[k] {
			continue
		}
		if !x.opened.IsZero() {
			b.open.Add(-1)
		}
		delete(b.m, k)
	}
}
