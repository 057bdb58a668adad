package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/sse"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// maxDials bounds how many decodes that cannot be connected to are passed over
// for one handoff: the prefill's lease runs meanwhile. It bounds prefills as
// well: connecting takes time.
const maxDials = 6

// maxHeld bounds what of an answer that is no stream is held until it is whole.
// A longer one is passed on as it comes.
const maxHeld = 1 << 20

// answer is a decode's response, not relayed yet. Whoever holds it must call
// close, which also counts the sequence out.
type answer struct {
	resp    *upstream.Response
	stream  bool
	held    []byte // what was read to judge it
	whole   bool   // held is all of it
	verdict sse.Verdict
	// ended takes what became of it, once; went is that, if nothing else happens.
	ended func(breaker.Outcome)
	went  breaker.Outcome
}

func (a *answer) close() {
	a.resp.Close()
	a.ended(a.went)
}

// good reports whether the client should get it at once.
func (a *answer) good() bool {
	code := a.resp.Status
	return a.verdict == sse.Token && (code < 400 || clientsFault(code) && !ownFault(code))
}

// blamesTransfer reports whether an answer that is not good may be the
// prefill's doing: the decode could not take its KV.
func (a *answer) blamesTransfer() bool { return a.resp.Status >= 500 || a.verdict != sse.Token }

// relayable reports whether the client gets it when there is no further try: an
// instance's own error says more than ours, a 200 without an answer says less.
func (a *answer) relayable() bool { return a.verdict == sse.Token }

// failed closes an answer that is not relayed and says what was wrong with it.
func (a *answer) failed() error {
	defer a.close()
	switch a.verdict {
	case sse.Failed:
		a.went = breaker.Bad
		return answerError("the stream began with an error")
	case sse.Empty:
		a.went = breaker.Bad
		return answerError("the answer ended without a token")
	case sse.Aborted:
		a.went = breaker.Unknown
		return answerError("the instance gave the answer up: finish_reason abort")
	case sse.Garbage:
		a.went = breaker.Bad
		return answerError("the answer is no JSON")
	}
	return &statusError{a.resp.Status}
}

// secondLeg asks a decode. A decode that cannot be connected to has not seen
// the params, so the next one may have them; any other failure ends the attempt.
func (t *trip) secondLeg(ctx context.Context, may []*fleet.Instance) (*answer, error) {
	candidates := pool.Without(may, t.badDecodes...)
	if len(candidates) == 0 {
		candidates = may // all have failed once: one of them is still the best there is
	}
	for dial := 1; ; dial++ {
		if t.out.path == pd.PathDisaggregated && time.Now().After(t.expires) {
			return nil, &handoff.RefusedError{Why: handoff.RefusedLate, Detail: "the prefill may have freed its blocks"}
		}
		d, ended := t.pick(t.legName(), candidates)
		t.out.decode = d.ID
		a, err := t.legTwo(ctx, d, ended)
		if err == nil {
			return a, nil
		}
		ended(outcomeOf(ctx, err))
		t.countFailure(ctx, t.legName(), err)
		rest := pool.Without(candidates, d.ID)
		if !notSent(err) || dial == maxDials || len(rest) == 0 || ctx.Err() != nil {
			return nil, err
		}
		t.s.logger.Warn("decode cannot be connected to", "request_id", t.req.id, "decode", d.ID, "error", err)
		t.s.metrics.Retry(t.legName())
		t.badDecodes = append(t.badDecodes, d.ID)
		candidates = rest
	}
}

// legTwo asks one decode and reads a stream up to its first token.
func (t *trip) legTwo(ctx context.Context, d *fleet.Instance, ended func(breaker.Outcome)) (*answer, error) {
	started := time.Now()
	limit := t.s.cfg.AnswerTimeout
	if !t.req.passed && string(t.req.object.Get("stream")) == "true" {
		limit = t.s.cfg.FirstTokenTimeout
	}
	resp, err := t.s.client.Do(ctx, t.request(d, started, limit))
	if err != nil {
		return nil, late(err, limit)
	}
	t.out.decodeTook = time.Since(started)
	t.s.metrics.Leg(t.legName(), t.out.decodeTook)
	t.reported(d, resp.Header)
	a := &answer{resp: resp, ended: ended, went: outcomeOfStatus(resp.Status), stream: isStream(resp.Header)}
	if resp.Status != http.StatusOK {
		if resp.Status == http.StatusNotFound {
			t.s.disowned(d, t.req.model)
		}
		a.stream = false
		return a, nil
	}
	if t.req.passed {
		return a, nil // its tokens, if it has any, are not counted
	}
	if err := t.judge(a); err != nil {
		resp.Close()
		if errors.Is(err, upstream.ErrDeadline) {
			return nil, late(err, limit)
		}
		return nil, &upstream.Error{Err: fmt.Errorf("answer broke off before anything of it was passed on: %w", err)}
	}
	switch a.verdict {
	case sse.Token:
		if a.stream {
			t.firstToken(started)
		}
	case sse.Failed:
		t.s.metrics.StreamFailure(metrics.StreamError)
	case sse.Empty:
		t.s.metrics.StreamFailure(metrics.StreamEmpty)
	case sse.Aborted:
		t.s.metrics.StreamFailure(metrics.StreamAborted)
	}
	return a, nil
}

// firstToken times a stream's first token, of a leg that started then.
func (t *trip) firstToken(started time.Time) {
	now := time.Now()
	t.out.firstToken = now.Sub(t.req.started)
	t.s.metrics.FirstToken(t.out.path, t.out.firstToken)
	t.legSpan.Event("first token", now)
	took := now.Sub(started).Seconds()
	if t.out.path == pd.PathLocal {
		t.s.worth.Alone(t.load.Bytes, took)
		return
	}
	t.s.worth.Handed(t.load.Bytes, t.out.prefillTook.Seconds(), took)
	t.s.metrics.Handoff(now.Sub(t.given))
}

// judge reads a stream up to its first token, and another answer to its end if
// that is not too far.
func (t *trip) judge(a *answer) (err error) {
	if a.stream {
		t.newPage(pageSize)
		a.held, a.verdict, err = t.watch.Protocol.Gate(a.resp, t.page.B)
		if err != nil && t.announcedOnly(a, err) {
			a.verdict, err = sse.Failed, nil
		}
		return err
	}
	t.newPage(int(min(max(a.resp.Length+1, pageSize), maxHeld)))
	n := 0
	for !a.whole && n < maxHeld {
		if n == len(t.page.B) {
			t.page = t.s.memory.Grow(t.page)
		}
		m, err := a.resp.Read(t.page.B[n:])
		n += m
		if a.whole = errors.Is(err, io.EOF); err != nil && !a.whole {
			return err
		}
	}
	a.held = t.page.B[:n]
	if a.whole {
		a.verdict = t.watch.Protocol.JudgeWhole(a.held)
	}
	if a.verdict == sse.Empty && t.out.path != pd.PathDisaggregated {
		a.verdict = sse.Token // nothing was handed over that could have failed: it is what was asked for
	}
	return nil
}

// announcedOnly reports whether a stream that broke off is how vLLM tells that
// the KV could not be taken over. On /v1/responses it has no event for that: it
// announces the response and drops the connection.
func (t *trip) announcedOnly(a *answer, err error) bool {
	return t.watch.Protocol == sse.Responses && t.out.path == pd.PathDisaggregated && len(a.held) > 0 && !errors.Is(err, upstream.ErrDeadline)
}

// late names a deadline as what it is: the instance may have the request, and
// may hang because of it.
func late(err error, limit time.Duration) error {
	if errors.Is(err, upstream.ErrDeadline) {
		return &upstream.Error{Err: fmt.Errorf("no token within %s: %w", limit, upstream.ErrDeadline)}
	}
	return err
}

func isStream(h upstream.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
