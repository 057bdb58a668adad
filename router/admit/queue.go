package admit

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"
)

// Limits bound a Queue.
type Limits struct {
	MaxRunning int           // requests that are served at once; 0: no limit
	MaxWaiting int           // requests that wait; 0: DefaultMaxWaiting
	MaxWait    time.Duration // how long one waits; 0: DefaultMaxWait
}

// Default limits of a queue.
const (
	DefaultMaxWaiting = 1024
	DefaultMaxWait    = 30 * time.Second
)

// Queue lets so many requests run at once and makes so many wait: high
// priority first, and within a priority the keys in turn, so that no client
// waits for another's backlog. Its methods may be called concurrently.
type Queue struct {
	mu      sync.Mutex
	limits  Limits
	now     func() time.Time
	running int
	waiting int
	classes [priorities]class
	keys    map[string]*usage // by name, so that limits survive a reload of keys
	pace    pace
}

// usage is what one key has at the router.
type usage struct {
	running, waiting int
	rate             bucket
}

// NewQueue makes a queue; now is the clock, nil for the real one.
func NewQueue(l Limits, now func() time.Time) *Queue {
	if now == nil {
		now = time.Now
	}
	q := &Queue{now: now, keys: map[string]*usage{}}
	q.SetLimits(l)
	return q
}

// SetLimits changes the limits; whoever runs or waits stays.
func (q *Queue) SetLimits(l Limits) {
	if l.MaxRunning <= 0 {
		l.MaxRunning = math.MaxInt
	}
	if l.MaxWaiting <= 0 {
		l.MaxWaiting = DefaultMaxWaiting
	}
	if l.MaxWait <= 0 {
		l.MaxWait = DefaultMaxWait
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits = l
	q.grant()
}

// Enter waits for a place. The release that it returns gives it back and must
// be called once. The error is a *Rejected, or ctx's cause. A priority above
// the key's own counts as the key's.
func (q *Queue) Enter(ctx context.Context, k *Key, p Priority) (release func(), err error) {
	p = min(p, k.Priority)
	q.mu.Lock()
	u := q.keys[k.Name]
	if u == nil {
		u = &usage{}
		q.keys[k.Name] = u
	}
	if rejected := q.refuse(k, u); rejected != nil {
		q.mu.Unlock()
		return nil, rejected
	}
	if q.waiting == 0 && q.running < q.limits.MaxRunning && k.mayRun(u) {
		q.run(u)
		q.mu.Unlock()
		return func() { q.leave(u) }, nil
	}
	w := &waiter{key: k, usage: u, granted: make(chan struct{})}
	q.waiting++
	u.waiting++
	q.classes[p.index()].push(w)
	q.grant() // the others may all wait for limits of their own
	limit := q.limits.MaxWait
	q.mu.Unlock()
	return q.wait(ctx, w, p, limit)
}

// refuse says why a request may not even wait; mu is held.
func (q *Queue) refuse(k *Key, u *usage) *Rejected {
	if wait := u.rate.take(k, q.now()); wait > 0 {
		return &Rejected{
			Code: http.StatusTooManyRequests, Reason: KeyRate, RetryAfter: max(wait, time.Second),
			Message: fmt.Sprintf("key %q: more than %g requests a second", k.Name, k.Rate),
		}
	}
	if q.running < q.limits.MaxRunning && k.mayRun(u) {
		return nil
	}
	if k.MaxWaiting > 0 && u.waiting >= k.MaxWaiting {
		return &Rejected{
			Code: http.StatusTooManyRequests, Reason: KeyBusy, RetryAfter: q.retryAfter(),
			Message: fmt.Sprintf("key %q: %d of its requests run and %d wait already", k.Name, u.running, u.waiting),
		}
	}
	if q.waiting >= q.limits.MaxWaiting {
		return &Rejected{
			Code: http.StatusServiceUnavailable, Reason: QueueFull, RetryAfter: q.retryAfter(),
			Message: fmt.Sprintf("the router is full: %d requests run and %d wait", q.running, q.waiting),
		}
	}
	return nil
}

// wait returns when the waiter may run, or has waited long enough.
func (q *Queue) wait(ctx context.Context, w *waiter, p Priority, limit time.Duration) (func(), error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case <-w.granted:
		return func() { q.leave(w.usage) }, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.classes[p.index()].remove(w) {
		q.waiting--
		w.usage.waiting--
	} else { // granted in this very moment
		q.free(w.usage)
	}
	if err == nil {
		err = &Rejected{
			Code: http.StatusServiceUnavailable, Reason: WaitedTooLong, RetryAfter: q.retryAfter(),
			Message: fmt.Sprintf("no place within %s: %d requests run and %d wait", limit, q.running, q.waiting),
		}
	}
	return nil, err
}

// run counts a request in; mu is held.
func (q *Queue) run(u *usage) {
	q.running++
	u.running++
}

// free counts a request out and lets the next ones in; mu is held.
func (q *Queue) free(u *usage) {
	q.running--
	u.running--
	q.pace.ended(q.now())
	q.grant()
}

func (q *Queue) leave(u *usage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free(u)
}

// grant lets in those who may run now; mu is held.
func (q *Queue) grant() {
	for q.running < q.limits.MaxRunning && q.waiting > 0 {
		w := next(&q.classes)
		if w == nil {
			return // all who wait are at their own limit
		}
		q.waiting--
		w.usage.waiting--
		q.run(w.usage)
		close(w.granted)
	}
}

// Depth is how many run and how many wait.
func (q *Queue) Depth() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting
}

// retryAfter guesses when there will be a place for one more: what waits takes
// that long at the pace of the last ones.
func (q *Queue) retryAfter() time.Duration {
	return min(max(time.Duration(q.waiting+1)*q.pace.interval, time.Second), time.Minute)
}

// pace is the smoothed interval between two requests that end.
type pace struct {
	last     time.Time
	interval time.Duration
}

func (p *pace) ended(now time.Time) {
	if !p.last.IsZero() {
		p.interval += (now.Sub(p.last) - p.interval) / 8
	}
	p.last = now
}
