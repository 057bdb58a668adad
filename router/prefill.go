package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// maxPrefillAnswer bounds leg 1's answer: one token and a list of block ids.
const maxPrefillAnswer = 16 << 20

// errPrefillTimeout is the end of a leg 1 that took too long.
var errPrefillTimeout = errors.New("no answer within the prefill timeout")

// errNoHandoff is a 200 of a prefill that cannot be read.
var errNoHandoff = errors.New("the answer holds no handoff")

// answered is a response of an instance that is the client's to see as it is:
// the request itself is at fault.
type answered struct {
	code   int
	header upstream.Header
	body   []byte
}

func (a *answered) Error() string { return fmt.Sprintf("answered %d", a.code) }

// prefill runs leg 1 on one prefill after another until one has the KV ready,
// and returns who may take leg 2. Otherwise it says why the request must go
// local; an error ends the request.
func (t *trip) prefill(ctx context.Context, view pool.View) ([]*fleet.Instance, pd.Reason, error) {
	pairable := view.Pairable()
	if len(pairable) == 0 {
		return nil, pd.ReasonNoPrefillInstance, nil
	}
	candidates := pool.Without(pairable, t.badPrefills...)
	if len(candidates) == 0 && t.handoffBroke {
		return nil, pd.ReasonHandoffFailed, nil
	}
	reason := pd.ReasonPrefillFailed
	var unanimous error // what each that was asked has answered, as far as they agree
	for tries, dials := 0, 0; tries < t.s.cfg.PrefillTries && dials < maxDials; {
		t.s.nixl.PrefillBody(&t.leg, t.req.endpoint, t.req.object, t.req.id)
		p, ended := t.pick(metrics.LegPrefill, candidates)
		if p == nil {
			break
		}
		if tries+dials > 0 {
			t.s.metrics.Retry(metrics.LegPrefill)
		}
		t.out.prefill = p.ID
		t.out.prefillTries++
		decodes, err := t.legOne(ctx, p, view.DecodesFor(p))
		ended(outcomeOf(ctx, err))
		if err != nil {
			t.countFailure(ctx, metrics.LegPrefill, err)
		}
		candidates = pool.Without(candidates, p.ID)
		if notSent(err) {
			dials++ // nobody has seen the request: it costs no try
		} else {
			tries++
		}
		switch a, isAnswer := errors.AsType[*answered](err); {
		case err == nil:
			return decodes, pd.ReasonNone, nil
		case ctx.Err() != nil:
			return nil, "", context.Cause(ctx)
		case isAnswer && !ownFault(a.code):
			return nil, "", err
		case isAnswer && a.code == http.StatusNotFound && t.s.disowned(p, t.req.model):
			unanimous = nil // a decode may have the adapter still
		case isAnswer && (tries == 1 || unanimous != nil):
			unanimous = err
			if len(candidates) > 0 {
				t.s.metrics.Suspect(a.code)
			}
		default:
			unanimous = nil
		}
		t.s.logger.Warn("prefill failed", "request_id", t.req.id, "prefill", p.ID, "error", err)
		if end := t.brokeOff(err); end != nil {
			return nil, "", end
		}
		reason = pd.ReasonPrefillFailed
		if handoff.ErrNoParams(err) {
			reason = pd.ReasonNoTransferParams
		}
		t.badPrefills = append(t.badPrefills, p.ID)
	}
	return nil, reason, unanimous
}

// legOne asks one prefill, takes the transfer params from its answer and leaves
// leg 2's body in t.leg. It returns which of the decodes may take it.
func (t *trip) legOne(ctx context.Context, p *fleet.Instance, decodes []*fleet.Instance) ([]*fleet.Instance, error) {
	started := time.Now()
	resp, err := t.s.client.Do(ctx, t.request(p, started, t.s.cfg.PrefillTimeout))
	if err != nil {
		return nil, prefillError(err)
	}
	defer resp.Close()
	t.reported(p, resp.Header)
	answer, err := t.s.memory.ReadAll(resp, resp.Length, maxPrefillAnswer)
	t.out.prefillTook = time.Since(started)
	if err != nil {
		return nil, prefillError(&upstream.Error{Err: fmt.Errorf("read answer: %w", err)})
	}
	defer answer.Free()
	switch {
	case resp.Status == http.StatusOK:
		t.s.metrics.Leg(metrics.LegPrefill, t.out.prefillTook)
		decodes, err := t.take(p, answer.B, resp.Connected, decodes)
		if e, ok := errors.AsType[*handoff.RefusedError](err); ok && e.Why == handoff.RefusedEngine {
			// A proxy before the instance may keep the connection while a new
			// engine starts behind it. A fresh connection's word is taken.
			resp.Discard()
		}
		return decodes, err
	case clientsFault(resp.Status):
		return nil, &answered{code: resp.Status, header: resp.Header, body: bytes.Clone(answer.B)}
	}
	return nil, &statusError{resp.Status}
}

// take accepts what a prefill hands over, or refuses it, and counts why.
func (t *trip) take(p *fleet.Instance, answer []byte, connected time.Time, decodes []*fleet.Instance) ([]*fleet.Instance, error) {
	given, err := t.handoffs.Read(answer)
	if err != nil && !handoff.ErrNoParams(err) {
		return nil, fmt.Errorf("%w: %w", errNoHandoff, err)
	}
	if err == nil && !given.For(t.req.id, t.req.object) {
		err = &handoff.RefusedError{Why: handoff.RefusedRequest, Detail: "remote_request_id is another request's"}
	}
	if err == nil {
		var restarted bool
		if restarted, err = t.s.ledger.Check(p, given, connected); restarted {
			t.s.roster.Forget(p.Key())
			t.s.chooser.Restarted(p, &t.load)
		}
	}
	if err == nil {
		unreachable := func(d *fleet.Instance) bool { return !given.Reaches(p, d) }
		if slices.ContainsFunc(decodes, unreachable) {
			decodes = slices.DeleteFunc(slices.Clone(decodes), unreachable)
		}
		if len(decodes) == 0 {
			err = &handoff.RefusedError{Why: handoff.RefusedAddress, Detail: "remote_host is " + given.Host + ", and no decode is on the prefill's host; set VLLM_NIXL_SIDE_CHANNEL_HOST"}
		}
	}
	if err != nil {
		t.countRefusal(err)
		return nil, err
	}
	t.s.nixl.DecodeBody(&t.leg, t.req.object, given.Params)
	t.given = time.Now()
	t.expires = t.given.Add(handoff.Lease(p))
	return decodes, nil
}

func (t *trip) countRefusal(err error) {
	if e, ok := errors.AsType[*handoff.RefusedError](err); ok {
		t.s.metrics.Refused(e.Why)
	}
}

// ownFault reports whether a status that blames the request may as well be the
// instance's own misconfiguration: another key, another model name.
func ownFault(code int) bool {
	return code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound
}

// prefillError names the timeout as what it is.
func prefillError(err error) error {
	if errors.Is(err, upstream.ErrDeadline) {
		return errPrefillTimeout
	}
	return err
}

// request is the leg that t.leg holds the body of, and how long it may take.
func (t *trip) request(i *fleet.Instance, started time.Time, limit time.Duration) *upstream.Request {
	t.up = upstream.Request{
		Method: http.MethodPost, Base: i.URL, Path: string(t.req.endpoint),
		Header: t.req.header, Body: t.leg.Parts(), Deadline: started.Add(limit), Slack: limit / 64,
	}
	if t.legSpan != nil { // vLLM's spans become its children
		h := http.Header{}
		t.legSpan.Inject(h)
		t.up.Header = bytes.Clone(t.up.Header)
		for name, values := range h {
			t.up.Header = upstream.AppendHeader(t.up.Header, name, values[0])
		}
	}
	return &t.up
}

// clientsFault reports whether a status would be the same from any instance.
// 408 and 429 speak of the moment and the instance, not of the request.
func clientsFault(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}
