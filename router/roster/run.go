package roster

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
)

// Run keeps the roster until ctx ends, and returns its cause. Call it once.
func (r *Roster) Run(ctx context.Context) error {
	r.mu.Lock()
	r.runs = true
	r.mu.Unlock()
	defer r.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.wake:
		case <-r.cfg.Source.Changed():
		case <-timer.C:
		}
		timer.Reset(r.round(ctx))
	}
}

// stop lets go who waits.
func (r *Roster) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = false
	if r.orders.found != nil {
		close(r.orders.found)
	}
	r.orders = orders{}
}

// round asks who is due, and says how long it is until the next one.
func (r *Roster) round(ctx context.Context) time.Duration {
	now := time.Now()
	usable := r.attend()
	o := r.take(now, len(usable) == 0)
	for k := range o.forgotten {
		if e := r.entries[k]; e != nil {
			e.listed = pool.Listed{}
		}
	}
	var due []*fleet.Instance
	for _, i := range usable {
		if isDue(r.entries[i.Key()], now) || o.found != nil || o.doubted[i.Key()] {
			due = append(due, i)
		}
	}
	r.ask(ctx, due)
	r.publish()
	if o.found != nil {
		close(o.found)
	}
	return r.untilNext(time.Now(), usable)
}

// isDue reports whether an instance is asked though nobody wants it to be.
func isDue(e *entry, now time.Time) bool { return e.asked.IsZero() || now.Sub(e.asked) >= every }

// attend brings the books in line with the snapshot and returns who can be
// asked. An instance that cannot be used keeps its list; it may come back as
// another engine, so it is asked again as soon as it does.
func (r *Roster) attend() (usable []*fleet.Instance) {
	snap := r.cfg.Source.Snapshot()
	if snap == nil {
		return nil
	}
	there := make(map[fleet.Key]*entry, len(snap.Instances))
	for _, i := range snap.Instances {
		e := r.entries[i.Key()]
		if e == nil {
			e = &entry{}
		}
		there[i.Key()] = e
		if i.Usable() {
			usable = append(usable, i)
		} else {
			e.asked = time.Time{}
		}
	}
	r.entries = there
	return usable
}

// take takes the orders, unless the latest that requests brought about are too
// recent. Where nobody can be asked there is nothing to wait for.
func (r *Roster) take(now time.Time, nobody bool) orders {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.orders
	if o.found == nil && o.doubted == nil || !nobody && now.Sub(r.last) < gap {
		return orders{}
	}
	r.orders = orders{}
	if !nobody {
		r.last = now
	}
	return o
}

// untilNext is how long the owner may sleep.
func (r *Roster) untilNext(now time.Time, usable []*fleet.Instance) time.Duration {
	next := now.Add(every)
	for _, i := range usable {
		if at := r.entries[i.Key()].asked.Add(every); at.Before(next) {
			next = at
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.last.Add(gap); (r.orders.found != nil || r.orders.doubted != nil) && at.Before(next) {
		next = at
	}
	return max(0, next.Sub(now))
}

// ask asks some instances, a few at a time, and enters what they say.
func (r *Roster) ask(ctx context.Context, due []*fleet.Instance) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(atOnce, len(due)) {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(due)) && ctx.Err() == nil; n = next.Add(1) - 1 {
				r.askOne(ctx, due[n])
			}
		})
	}
	wg.Wait()
}

func (r *Roster) askOne(ctx context.Context, i *fleet.Instance) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	listed, err := r.cfg.Ask(limited, i)
	if ctx.Err() == nil { // else it is we who ended it
		r.enter(r.entries[i.Key()], i, listed, err)
	}
}

// enter takes in one answer, and says once what is new about it. An instance
// that does not answer keeps its list: failure is not emptiness.
func (r *Roster) enter(e *entry, i *fleet.Instance, listed pool.Listed, err error) {
	e.asked = time.Now()
	switch {
	case err != nil && !e.failed:
		r.cfg.Logger.Warn("instance does not list its models; it gets the requests of the last list that it gave, without one of the model that it is registered for",
			"instance", i.ID, "pd_model", i.Meta.Model, "listed", len(e.listed.Names), "error", err)
	case err == nil && !listed.Equal(e.listed):
		r.cfg.Logger.Info("instance lists its models", "instance", i.ID, "count", len(listed.Names), "names", listed.Names[:min(len(listed.Names), 20)])
	}
	if e.failed = err != nil; err == nil {
		e.listed = listed
	}
}

// publish replaces what is known, if it is not the same.
func (r *Roster) publish() {
	lists := Lists{}
	for k, e := range r.entries {
		if len(e.listed.Names) > 0 {
			lists[k] = e.listed
		}
	}
	if !maps.EqualFunc(lists, *r.lists.Load(), pool.Listed.Equal) {
		r.lists.Store(&lists)
	}
}
