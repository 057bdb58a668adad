package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// errPrefillTimeout is the cause of a leg 1 that took too long.
var errPrefillTimeout = errors.New("no answer within the prefill timeout")

// answered is a response of an instance that is the client's to see as it is:
// the request itself is at fault.
type answered struct {
	code   int
	header http.Header
	body   []byte
}

func (a *answered) Error() string { return fmt.Sprintf("answered %d", a.code) }

// prefill runs leg 1 on one prefill after another until one has the KV ready,
// and returns leg 2. Otherwise it says why the request must go local; an
// error ends the request.
func (t *trip) prefill(ctx context.Context, view pool.View) (second, pd.Reason, error) {
	pairable := view.Pairable()
	if len(pairable) == 0 {
		return second{}, pd.ReasonNoPrefillInstance, nil
	}
	candidates := pool.Without(pairable, t.badPrefills...)
	if len(candidates) == 0 && t.handoffBroke {
		return second{}, pd.ReasonHandoffFailed, nil
	}
	leg := handoff.PrefillBody(t.req.endpoint, t.req.object)
	reason := pd.ReasonPrefillFailed
	for try := range t.s.cfg.PrefillTries {
		t.s.tracePick(t.req.id, metrics.LegPrefill, candidates)
		p, release := t.s.loads.Prefill(candidates, int64(len(leg)))
		if p == nil {
			break
		}
		if try > 0 {
			t.s.metrics.Retry(metrics.LegPrefill)
		}
		t.out.prefill = p.ID
		t.out.prefillTries++
		params, err := t.legOne(ctx, p, leg)
		release()
		switch {
		case err == nil:
			return second{body: handoff.DecodeBody(t.req.object, params), candidates: view.DecodesFor(p)}, pd.ReasonNone, nil
		case ctx.Err() != nil:
			return second{}, "", context.Cause(ctx)
		}
		if _, ok := errors.AsType[*answered](err); ok {
			return second{}, "", err
		}
		t.s.logger.Warn("prefill failed", "request_id", t.req.id, "prefill", p.ID, "error", err)
		if end := t.brokeOff(err); end != nil {
			return second{}, "", end
		}
		reason = pd.ReasonPrefillFailed
		if errors.Is(err, handoff.ErrNoParams) {
			reason = pd.ReasonNoTransferParams
		}
		t.badPrefills = append(t.badPrefills, p.ID)
		candidates = pool.Without(candidates, p.ID)
	}
	return second{}, reason, nil
}

// legOne asks one prefill and takes the transfer params from its answer.
func (t *trip) legOne(ctx context.Context, p *fleet.Instance, leg []byte) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.s.cfg.PrefillTimeout, errPrefillTimeout)
	defer cancel()
	started := time.Now()
	resp, err := t.s.client.Do(ctx, http.MethodPost, p.URL+string(t.req.endpoint), t.req.header, leg)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxPrefillAnswer))
	t.out.prefillTook = time.Since(started)
	switch {
	case err != nil:
		return nil, &upstream.Error{Err: fmt.Errorf("read answer: %w", err)}
	case resp.StatusCode == http.StatusOK:
		t.s.metrics.Leg(metrics.LegPrefill, t.out.prefillTook)
		return handoff.Params(answer)
	case clientsFault(resp.StatusCode):
		return nil, &answered{code: resp.StatusCode, header: resp.Header, body: answer}
	}
	return nil, fmt.Errorf("answered %d", resp.StatusCode)
}

// clientsFault reports whether a status would be the same from any instance.
// 408 and 429 speak of the moment and the instance, not of the request.
func clientsFault(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}
