package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
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
	t.s.nixl.PrefillBody(&t.leg, t.req.endpoint, t.req.object)
	reason := pd.ReasonPrefillFailed
	for try := range t.s.cfg.PrefillTries {
		p, ended := t.pick(metrics.LegPrefill, candidates)
		if p == nil {
			break
		}
		if try > 0 {
			t.s.metrics.Retry(metrics.LegPrefill)
		}
		t.out.prefill = p.ID
		t.out.prefillTries++
		err := t.legOne(ctx, p)
		ended(outcomeOf(ctx, err))
		switch {
		case err == nil:
			return view.DecodesFor(p), pd.ReasonNone, nil
		case ctx.Err() != nil:
			return nil, "", context.Cause(ctx)
		}
		if _, ok := errors.AsType[*answered](err); ok {
			return nil, "", err
		}
		t.s.logger.Warn("prefill failed", "request_id", t.req.id, "prefill", p.ID, "error", err)
		if end := t.brokeOff(err); end != nil {
			return nil, "", end
		}
		reason = pd.ReasonPrefillFailed
		if errors.Is(err, handoff.ErrNoParams) {
			reason = pd.ReasonNoTransferParams
		}
		t.badPrefills = append(t.badPrefills, p.ID)
		candidates = pool.Without(candidates, p.ID)
	}
	return nil, reason, nil
}

// legOne asks one prefill, takes the transfer params from its answer and leaves
// leg 2's body in t.leg.
func (t *trip) legOne(ctx context.Context, p *fleet.Instance) error {
	started := time.Now()
	resp, err := t.s.client.Do(ctx, t.request(p, started.Add(t.s.cfg.PrefillTimeout)))
	if err != nil {
		return prefillError(err)
	}
	defer resp.Close()
	t.reported(p, resp.Header)
	answer, err := t.s.memory.ReadAll(resp, resp.Length, maxPrefillAnswer)
	t.out.prefillTook = time.Since(started)
	if err != nil {
		return prefillError(&upstream.Error{Err: fmt.Errorf("read answer: %w", err)})
	}
	defer answer.Free()
	switch {
	case resp.Status == http.StatusOK:
		t.s.metrics.Leg(metrics.LegPrefill, t.out.prefillTook)
		params, err := handoff.Params(answer.B)
		if err == nil {
			t.s.nixl.DecodeBody(&t.leg, t.req.object, params)
		}
		return err
	case clientsFault(resp.Status):
		return &answered{code: resp.Status, header: resp.Header, body: bytes.Clone(answer.B)}
	}
	return &statusError{resp.Status}
}

// prefillError names the timeout as what it is.
func prefillError(err error) error {
	if errors.Is(err, upstream.ErrDeadline) {
		return errPrefillTimeout
	}
	return err
}

// request is the leg that t.leg holds the body of.
func (t *trip) request(i *fleet.Instance, deadline time.Time) *upstream.Request {
	return &upstream.Request{
		Method: http.MethodPost, Base: i.URL, Path: string(t.req.endpoint),
		Header: t.req.header, Body: t.leg.Parts(), Deadline: deadline,
	}
}

// clientsFault reports whether a status would be the same from any instance.
// 408 and 429 speak of the moment and the instance, not of the request.
func clientsFault(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}
