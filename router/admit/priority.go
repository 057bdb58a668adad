package admit

import (
	"fmt"
	"slices"
)

// Priority orders requests. The zero Priority is Normal.
type Priority int

// The priorities.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1

	priorities = 3
)

// ParsePriority reads low, normal or high; empty is Normal.
func ParsePriority(name string) (Priority, error) {
	switch name {
	case "low":
		return Low, nil
	case "", "normal":
		return Normal, nil
	case "high":
		return High, nil
	}
	return Normal, fmt.Errorf("priority %q: want low, normal or high", name)
}

func (p Priority) String() string { return [priorities]string{"low", "normal", "high"}[p.index()] }

func (p Priority) index() int { return int(min(max(p, Low), High) - Low) }

// waiter is one request in the queue. granted is closed when it may run.
type waiter struct {
	key     *Key
	usage   *usage
	granted chan struct{}
}

// class holds the waiters of one priority: a line for each key, in the order
// of their turns.
type class struct {
	lines  []*line
	passed int // grants to higher classes while somebody waited here
}

type line struct {
	usage   *usage
	waiters []*waiter
}

func (c *class) push(w *waiter) {
	at := slices.IndexFunc(c.lines, func(l *line) bool { return l.usage == w.usage })
	if at < 0 {
		c.lines = append(c.lines, &line{usage: w.usage})
		at = len(c.lines) - 1
	}
	c.lines[at].waiters = append(c.lines[at].waiters, w)
}

// pop takes the first waiter whose key is below its own limit, and gives the
// other keys their turn before this one's next.
func (c *class) pop() *waiter {
	for at, l := range c.lines {
		w := l.waiters[0]
		if !w.key.mayRun(l.usage) {
			continue
		}
		l.waiters[0] = nil
		l.waiters = l.waiters[1:]
		c.lines = slices.Delete(c.lines, at, at+1)
		if len(l.waiters) > 0 {
			c.lines = append(c.lines, l)
		}
		return w
	}
	return nil
}

// remove takes a waiter out; false if it is no longer there.
func (c *class) remove(w *waiter) bool {
	for at, l := range c.lines {
		n := slices.Index(l.waiters, w)
		if n < 0 {
			continue
		}
		if l.waiters = slices.Delete(l.waiters, n, n+1); len(l.waiters) == 0 {
			c.lines = slices.Delete(c.lines, at, at+1)
		}
		return true
	}
	return false
}

// patience is how often a class is passed over for higher ones before it has
// its turn: priority is not starvation.
const patience = 8

// next takes out the waiter whose turn it is; nil if none may run.
func next(classes *[priorities]class) *waiter {
	for at := range classes {
		if c := &classes[at]; c.passed >= patience {
			c.passed = 0
			if w := c.pop(); w != nil {
				return w
			}
		}
	}
	for at := priorities - 1; at >= 0; at-- {
		w := classes[at].pop()
		if w == nil {
			continue
		}
		for lower := range at {
			if len(classes[lower].lines) > 0 {
				classes[lower].passed++
			}
		}
		return w
	}
	return nil
}
