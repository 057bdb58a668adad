package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// sessionHeader names a client's session, as vLLM's own router and clients do.
const sessionHeader = "X-Session-Id"

// weigh works out what of the request decides where it goes.
func (t *trip) weigh() {
	t.load.Bytes, t.load.Blocks = 0, t.load.Blocks[:0]
	seed := choose.Seed(t.req.model)
	for _, part := range handoff.Prompt(t.req.endpoint, t.req.object) {
		t.load.Bytes += len(part)
		t.load.Blocks, seed = choose.Blocks(t.load.Blocks, seed, part)
	}
}

// notWorth says why a handoff would not pay, ReasonNone if it may, and which
// decodes should then serve the request alone.
func (t *trip) notWorth(view pool.View) (pd.Reason, []*fleet.Instance) {
	if t.s.cfg.LocalBelow == 0 {
		return pd.ReasonNone, view.Decodes
	}
	atDecode, decode := t.s.chooser.Uncached(pool.Without(view.Decodes, t.badDecodes...), &t.load)
	atPrefill, _ := t.s.chooser.Uncached(view.Prefills, &t.load)
	reason := t.s.worth.Local(t.load.Bytes, atPrefill, atDecode)
	if reason == pd.ReasonCachedPrefix && decode != nil {
		return reason, []*fleet.Instance{decode}
	}
	return reason, view.Decodes
}

// pick chooses one of the candidates that may be tried and counts the leg
// there. ended must be called once with what became of it. nil: there is none.
func (t *trip) pick(leg string, candidates []*fleet.Instance) (chosen *fleet.Instance, ended func(breaker.Outcome)) {
	allowed := t.s.breakers.Allowed(candidates)
	t.s.tracePick(t.req.id, leg, allowed)
	by := t.s.chooser.Decode
	if leg == metrics.LegPrefill {
		by = t.s.chooser.Prefill
	}
	chosen, release := by(allowed, &t.load)
	if chosen == nil {
		return nil, nil
	}
	t.s.breakers.Sent(chosen)
	span := t.span.Leg(leg, chosen.ID, chosen.URL)
	t.legSpan = span
	return chosen, func(o breaker.Outcome) {
		release()
		failure := ""
		if o == breaker.Bad {
			failure = "the instance failed"
		}
		span.End(0, failure)
		if t.s.breakers.Ended(chosen, o) {
			t.s.logger.Warn("instance is kept away from: it fails again and again", "instance", chosen.ID, "leg", leg)
		}
	}
}

// reported takes in the load that came with an answer.
func (t *trip) reported(i *fleet.Instance, h upstream.Header) {
	if r, ok := choose.ParseReport(h.Get(choose.ReportHeader)); ok {
		t.s.chooser.Reported(i, r)
	}
}

// outcomeOf is what a leg's error says of its instance.
func outcomeOf(ctx context.Context, err error) breaker.Outcome {
	switch {
	case err == nil:
		return breaker.Good
	case ctx.Err() != nil:
		return breaker.Unknown // the client left
	}
	if a, ok := errors.AsType[*statusError](err); ok {
		return outcomeOfStatus(a.code)
	}
	if _, ok := errors.AsType[*answered](err); ok {
		return breaker.Good
	}
	return breaker.Bad
}

// outcomeOfStatus: an instance that is busy, or refuses the request, is well.
func outcomeOfStatus(code int) breaker.Outcome {
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusNotFound:
		return breaker.Unknown
	case code >= 500, code == http.StatusUnauthorized, code == http.StatusForbidden:
		return breaker.Bad
	}
	return breaker.Good
}

// statusError is an answer that another instance might not have given.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("answered %d", e.code) }
