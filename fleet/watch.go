package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	backoffMin = 250 * time.Millisecond
	backoffMax = 15 * time.Second
	// dither spreads routers that all woke from the same change.
	dither = 20 * time.Millisecond
	// maxStale is how far behind its leader the answering Consul server may
	// be. A server cut off from its leader goes on answering stale reads with
	// the world of before.
	maxStale = 10 * time.Second
)

// watch follows one service name until ctx ends. It alone owns the index.
func (c *Consul) watch(ctx context.Context, name string) {
	var index uint64
	failures := 0
	for {
		started := time.Now()
		entries, last, err := c.read(ctx, name, index)
		if ctx.Err() != nil {
			return
		}
		pause := c.cfg.MinDelay - time.Since(started) + rand.N(dither)
		if err != nil {
			failures++
			pause = backoff(failures)
			if _, answered := errors.AsType[api.StatusError](err); answered {
				index = 0 // a new leader or a wiped server counts from somewhere else
			}
			c.failed(name, failures, pause, err)
		} else {
			if failures > 0 {
				c.logger.Info("consul answers again", "service", name, "failures", failures)
			}
			failures = 0
			c.lastErr.Store(nil)
			index = nextIndex(index, last)
			c.publish(name, c.instances(entries), time.Now())
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// failed keeps the reason for whoever asks and says what becomes of the view.
func (c *Consul) failed(name string, failures int, pause time.Duration, err error) {
	c.lastErr.Store(&err)
	kv := []any{"address", c.cfg.Address, "service", name, "failures", failures, "retry_in", pause.Round(time.Millisecond), "error", err}
	if s := c.current.Load(); s != nil {
		c.logger.Warn("consul cannot be read; keeping the last good view", append(kv, "view_age", time.Since(s.At).Round(time.Second))...)
		return
	}
	c.logger.Warn("consul cannot be read; no instance is known yet", kv...)
}

// read makes one query, blocking if index is not 0. Critical instances are
// wanted too: they are shown with their reason, and a request in flight there
// must not be forgotten.
func (c *Consul) read(ctx context.Context, name string, index uint64) ([]*api.ServiceEntry, uint64, error) {
	entries, meta, err := c.query(ctx, name, &api.QueryOptions{AllowStale: true, WaitIndex: index, WaitTime: c.cfg.Wait})
	if err != nil {
		return nil, 0, err
	}
	if meta.LastContact > maxStale || (len(entries) == 0 && c.holds(name)) {
		// Old data, or everyone gone at once: ask the leader before believing it.
		entries, meta, err = c.query(ctx, name, &api.QueryOptions{})
		if err != nil {
			return nil, 0, err
		}
	}
	if len(entries) == 0 && meta.ResultsFilteredByACLs {
		return nil, 0, fmt.Errorf("read service %q from consul: the token may not read its instances; grant it service and node read", name)
	}
	return entries, meta.LastIndex, nil
}

func (c *Consul) query(ctx context.Context, name string, q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	// Consul adds up to wait/16 of its own jitter; past that the connection is dead.
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Wait+c.cfg.Wait/16+15*time.Second)
	defer cancel()
	entries, meta, err := c.health.Service(name, "", false, q.WithContext(ctx))
	if err != nil {
		return nil, nil, fmt.Errorf("read service %q from consul: %w", name, err)
	}
	return entries, meta, nil
}

// holds reports whether the last good answer for the service had instances.
func (c *Consul) holds(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.parts[name].instances) > 0
}

// nextIndex is the index to wait on after an answer that carried got. An index
// that went backwards means a restored or replaced server: waiting on the old
// one would block for changes that already happened.
func nextIndex(last, got uint64) uint64 {
	if got < last {
		return 0
	}
	return got
}

// backoff is the pause after the n-th failure in a row: exponential with full
// jitter, so that routers do not return to a recovering Consul in step.
func backoff(n int) time.Duration {
	d := backoffMax
	if shift := n - 1; shift < 6 {
		d = min(backoffMax, backoffMin<<shift)
	}
	return backoffMin/2 + rand.N(d)
}

// sleep waits d, or reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
