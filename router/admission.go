package router

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
)

// admit lets the request in, as soon as it is its turn. release gives its place
// back and must be called once. The error is an *apiError, or ctx's cause.
func (t *trip) admit(ctx context.Context, h http.Header) (release func(), err error) {
	key, ok := t.s.keys.Find(h.Get("Authorization"))
	if !ok {
		return nil, unauthorized()
	}
	t.out.key = key.Name
	priority := key.Priority
	if !t.s.keys.Required() {
		priority = admit.Normal
	}
	if name := h.Get(pd.HeaderPriority); name != "" {
		if priority, err = admit.ParsePriority(name); err != nil {
			return nil, badRequest(pd.HeaderPriority+": "+err.Error(), nil)
		}
	}
	started := time.Now()
	release, err = t.s.queue.Enter(ctx, key, priority)
	t.out.queued = time.Since(started)
	if r, ok := errors.AsType[*admit.Rejected](err); ok {
		t.s.metrics.Rejected(r.Reason)
		return nil, rejection(r)
	}
	return release, err
}

func rejection(r *admit.Rejected) *apiError {
	kind := typeUnavailable
	if r.Code == http.StatusTooManyRequests {
		kind = typeTooMany
	}
	return &apiError{Message: r.Message, Type: kind, Code: r.Code, retryAfter: int(math.Ceil(r.RetryAfter.Seconds()))}
}

func unauthorized() *apiError {
	return &apiError{Message: "a key is required: send it as Authorization: Bearer KEY", Type: typeUnauthorized, Code: http.StatusUnauthorized}
}

// authorized is a handler for those who have a key, where keys are required.
func (s *Server) authorized(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.keys.Find(r.Header.Get("Authorization")); !ok {
			unauthorized().write(w)
			return
		}
		h(w, r)
	}
}

// Reload puts other keys and limits in place, and what runs or waits stays. On
// an error everything stays as it was.
func (s *Server) Reload(keys []admit.Key, limits admit.Limits) error {
	if err := s.keys.Replace(keys); err != nil {
		return err
	}
	s.queue.SetLimits(limits)
	return nil
}

// lookAgain is how often a request that waits for an instance looks for one.
const lookAgain = 50 * time.Millisecond

// await is view, asking around for a model that nobody is known to serve, and
// waiting for the first instance if there is none: a group that was scaled to
// zero is scaled up because of who waits.
func (t *trip) await(ctx context.Context) (pool.View, error) {
	v, err := t.view()
	if err == nil {
		return v, nil
	}
	started := time.Now()
	defer func() { t.out.queued += time.Since(started) }()
	if v, err = t.ask(ctx, err); err == nil || t.s.cfg.InstanceWait == 0 || !temporary(err) {
		return v, err
	}
	defer t.s.metrics.Waiting(t.registered(v))()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return v, context.Cause(ctx)
		case <-tick.C:
		}
		v, err = t.view()
		if unknown(err) { // an instance has come, and may not have been asked yet
			v, err = t.ask(ctx, err)
		}
		if err == nil || !temporary(err) || time.Since(started) > t.s.cfg.InstanceWait {
			return v, err
		}
	}
}

// ask is view again, after the instances were asked for the request's model: an
// adapter may have been loaded since the last time.
func (t *trip) ask(ctx context.Context, why error) (pool.View, error) {
	if t.req.model != "" && (unknown(why) || temporary(why)) {
		t.s.roster.Find(ctx)
	}
	return t.view()
}

// registered is what the instances of a view are registered for, "" if there are
// none. A client's own words, or an adapter's name, would be a label without bounds.
func (t *trip) registered(v pool.View) string {
	table := t.s.currentTable()
	if table != nil && slices.Contains(table.Registered(), v.Model) {
		return v.Model
	}
	for _, i := range append(slices.Clone(v.Prefills), v.Unusable...) {
		if i.Meta.Model != "" {
			return i.Meta.Model
		}
	}
	return ""
}

func temporary(err error) bool { return isCode(err, http.StatusServiceUnavailable) }

func unknown(err error) bool { return isCode(err, http.StatusNotFound) }

func isCode(err error, code int) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.Code == code
}
