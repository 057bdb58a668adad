package h1

import (
	"context"
	"sync"
	"time"
)

// requestContext is a request's context. It is not context.WithCancel's because
// a router asks each of them, for each leg, to be told of its end, and nearly
// none ends early: here that costs one small piece of garbage in place of seven.
type requestContext struct {
	mu    sync.Mutex
	err   error
	done  chan struct{} // nil until somebody asks
	last  uint64        // number of the latest function that AfterFunc was given
	first task          // the one that most requests have at a time
	more  map[uint64]func()
}

// task is a function that waits for the end, and its number; nil if none does.
type task struct {
	number uint64
	f      func()
}

// Deadline is none.
func (c *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is nil: a request of this server carries none.
func (c *requestContext) Value(any) any { return nil }

// Err is context.Canceled from the end on.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed at the end.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// AfterFunc is context.AfterFunc, which finds it here.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	number := c.last
	switch {
	case c.err != nil:
		go f()
	case c.first.f == nil:
		c.first = task{number, f}
	default:
		if c.more == nil {
			c.more = map[uint64]func(){}
		}
		c.more[number] = f
	}
	return func() bool { return c.stop(number) }
}

// stop reports whether it came before the end, the first time.
func (c *requestContext) stop(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.f != nil && c.first.number == number {
		c.first.f = nil
		return true
	}
	_, waits := c.more[number]
	delete(c.more, number)
	return waits
}

// cancel ends the context. Again is nothing.
func (c *requestContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	if c.first.f != nil {
		go c.first.f()
	}
	for _, f := range c.more {
		go f()
	}
	c.first.f, c.more = nil, nil
}
