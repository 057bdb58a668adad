package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
	"github.com/nomad-vllm/nomad-vllm/router/buffer"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/sse"
	"github.com/nomad-vllm/nomad-vllm/router/trace"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// Budget of one request: so many handoffs, because kv_transfer_params are
// single use and a decode that failed needs another leg 1, and so many tries of
// a decode alone; after failed handoffs only one of these.
const (
	maxHandoffs = 2
	maxAlone    = 2
)

// trip is one request on its way through the router. One goroutine owns it.
//
//	read -> [leg 1] -> leg 2 -> relay        disaggregated
//	read ------------> local -> relay        local, with a reason
//	             ^        |
//	             +--------+  within the budget, if nothing was told to the client yet
type trip struct {
	s   *Server
	w   http.ResponseWriter
	req request
	out outcome

	parsed   body.Object
	load     choose.Request   // what of the request decides where it goes
	leg      body.Pieces      // the body of the leg that is next or under way
	up       upstream.Request // that leg
	handoffs handoff.Reader
	given    time.Time      // when a prefill gave what leg 2 takes over
	expires  time.Time      // when that must not be sent any more
	page     *buffer.Buffer // what an answer passes through
	control  http.ResponseController
	values   [16]string // of the answer's header, as far as they have room
	used     int
	writing  time.Time // when its write deadline was set
	gaps     metrics.Gaps
	watch    sse.Watch
	line     []byte // room for the log's
	// The request's span and its latest leg's; nil: not traced.
	span, legSpan *trace.Span

	// Instances that failed this request, by ID.
	badPrefills, badDecodes []string
	// handoffBroke: a decode answered, but could not take over.
	handoffBroke bool
	// handedOver and alone count the tries of either path that failed.
	handedOver, alone int
	// broken counts the legs that may have reached an instance and brought
	// nothing back: the request may be what ended the instance.
	broken int
}

// maxBroken is how many legs of one request may break off without an answer
// before it is given up. One bad request can end a vLLM engine (with exit code
// 0, at that), and a router that kept retrying it would end the whole fleet.
const maxBroken = 2

// brokeOff counts a leg's failure and returns the error that ends the request
// once it has broken too many, nil before that. Refused connections and
// answered errors do not count: neither is the death of an instance.
func (t *trip) brokeOff(err error) error {
	if e, ok := errors.AsType[*upstream.Error](err); ok && !e.NotSent {
		t.broken++
	}
	if t.broken < maxBroken {
		return nil
	}
	return badGateway(fmt.Sprintf("%d instances broke off without an answer to this request; it is not sent to another (last: %v)", t.broken, err))
}

// outcome is what is counted, logged and told in headers.
type outcome struct {
	path         pd.Path
	reason       pd.Reason
	prefill      string // instance IDs
	decode       string
	prefillTook  time.Duration
	decodeTook   time.Duration
	firstToken   time.Duration // since the start; 0 if not a stream
	attempts     int
	prefillTries int
	code         int
	bytes        int64
	failure      string // for the log
	key          string // the name of the client's key
	queued       time.Duration
}

// generate serves one endpoint in two legs.
func (s *Server) generate(ep handoff.Endpoint) http.HandlerFunc { return s.trip(ep, false) }

// trip serves one endpoint. passed: by one instance, as it is.
func (s *Server) trip(ep handoff.Endpoint, passed bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := s.trips.Get().(*trip)
		*t = trip{
			s: s, w: w, control: *http.NewResponseController(w), parsed: t.parsed, leg: t.leg, handoffs: t.handoffs, line: t.line,
			load: choose.Request{Blocks: t.load.Blocks, Session: r.Header.Get(sessionHeader)},
			req:  request{endpoint: ep, passed: passed, id: requestID(r.Header), started: time.Now(), header: t.req.header},

			watch: sse.Watch{Protocol: protocolOf(ep)},
		}
		t.span = s.cfg.Tracer.Request(r.Header, string(ep), t.req.id)
		s.metrics.Begin()
		defer t.finish()
		w.Header()[pd.HeaderRequestID] = t.one(t.req.id)
		release, err := t.admit(r.Context(), r.Header)
		if err == nil {
			defer release()
			err = t.readRequest(r)
		}
		switch {
		case err != nil:
		case passed:
			err = t.pass(r.Context())
		default:
			t.weigh()
			err = t.serve(r.Context())
		}
		if err != nil {
			t.fail(r.Context(), err)
		}
	}
}

// serve runs attempts until one is relayed. An error is what the client is to
// be told; nothing was written then.
func (t *trip) serve(ctx context.Context) error {
	for {
		t.out.attempts++
		view, err := t.await(ctx)
		if err != nil {
			return err
		}
		candidates, err := t.firstLeg(ctx, view)
		if err != nil {
			return err
		}
		last := t.last()
		a, err := t.secondLeg(ctx, candidates)
		if err == nil {
			if a.good() {
				t.relay(ctx, a)
				return nil
			}
			if last && a.relayable() {
				t.countFailure(ctx, t.legName(), &statusError{a.resp.Status})
				t.relay(ctx, a)
				return nil
			}
			err = a.failed()
			t.countFailure(ctx, t.legName(), err)
			if a.blamesTransfer() {
				t.handoffBroke = t.out.path == pd.PathDisaggregated
				t.badPrefills = append(t.badPrefills, t.out.prefill)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if handoff.ErrNoParams(err) { // its lease is over; no instance is to blame
			t.countRefusal(err)
			t.spent()
			if last {
				return badGateway(err.Error())
			}
			continue
		}
		t.spent()
		if notSent(err) {
			return unavailable(fmt.Sprintf("no decode instance can be connected to (last: %s: %v)", t.out.decode, err))
		}
		if end := t.brokeOff(err); end != nil {
			return end
		}
		t.badDecodes = append(t.badDecodes, t.out.decode)
		t.s.logger.Warn("decode failed", "request_id", t.req.id, "decode", t.out.decode, "prefill", t.out.prefill,
			"path", t.out.path, "last", last, "error", err)
		if last {
			return badGateway(fmt.Sprintf("decode instance %s: %v", t.out.decode, err))
		}
		t.s.metrics.Retry(t.legName())
	}
}

// last reports whether the path that was chosen is the request's last try.
func (t *trip) last() bool {
	if t.out.path == pd.PathDisaggregated {
		return t.handedOver+1 >= maxHandoffs && t.s.cfg.NoFallback
	}
	return t.alone+1 >= maxAlone || t.handedOver > 0
}

// spent counts a try that failed.
func (t *trip) spent() {
	if t.out.path == pd.PathDisaggregated {
		t.handedOver++
	} else {
		t.alone++
	}
}

// view is what one snapshot offers this request; an error if it cannot serve it.
func (t *trip) view() (pool.View, error) {
	table := t.s.currentTable()
	if table == nil {
		return pool.View{}, t.s.noSnapshot()
	}
	model := t.req.model
	if model == "" {
		switch have := table.Defaults(); len(have) {
		case 0:
		case 1:
			model = have[0]
		default:
			return pool.View{}, badRequest("model is required, because several are served: "+list(have), "model")
		}
	}
	v := table.View(model)
	switch {
	case len(v.Decodes) > 0:
		return v, nil
	case !v.Known() && model != "" && len(table.Models()) > 0:
		return v, unknownModel(model, table.Models())
	case table.PrefillOnly(v):
		return v, prefillOnly(v)
	}
	return v, noDecode(v)
}

// firstLeg chooses the path and, unless it is local, runs leg 1. It leaves the
// second leg's body in t.leg and returns who may take it.
func (t *trip) firstLeg(ctx context.Context, view pool.View) ([]*fleet.Instance, error) {
	t.out.prefillTook, t.out.decodeTook = 0, 0
	reason := handoff.Unsupported(t.req.endpoint, t.req.object)
	alone := view.Decodes
	if reason == pd.ReasonNone {
		reason, alone = t.notWorth(view)
	}
	if reason == pd.ReasonNone {
		candidates, why, err := t.handOver(ctx, view)
		if err != nil {
			return nil, err
		}
		if why == pd.ReasonNone {
			t.out.path, t.out.reason = pd.PathDisaggregated, pd.ReasonNone
			return candidates, nil
		}
		if t.s.cfg.NoFallback {
			return nil, unavailable("the prompt could not be handed over (" + string(why) + "), and the router is set to serve nothing without")
		}
		reason = why
	}
	t.out.path, t.out.reason, t.out.prefill = pd.PathLocal, reason, ""
	t.req.object.Splice(&t.leg)
	return alone, nil
}

// handOver runs leg 1, unless the budget for it is spent.
func (t *trip) handOver(ctx context.Context, view pool.View) ([]*fleet.Instance, pd.Reason, error) {
	if t.handedOver >= maxHandoffs {
		return nil, pd.ReasonHandoffFailed, nil
	}
	return t.prefill(ctx, view)
}

// legName is the second leg's label.
func (t *trip) legName() string {
	if t.out.path == pd.PathDisaggregated {
		return metrics.LegDecode
	}
	return metrics.LegLocal
}

// fail tells the client, if it is still there, why it gets no answer.
func (t *trip) fail(ctx context.Context, err error) {
	if ctx.Err() != nil && t.s.cutOff.Load() {
		ctx, err = context.WithoutCancel(ctx), errStopping()
	}
	t.out.failure = err.Error()
	e, ok := errors.AsType[*apiError](err)
	// net/http ends the context of a body that met its deadline.
	slow := ok && e.Code == http.StatusRequestTimeout
	if ctx.Err() != nil && !slow || errors.Is(err, errClientGone) {
		t.out.code = statusClientGone
		// Returning would make net/http answer 200 with an empty body, which a
		// client that only closed its sending side would take for success.
		panic(http.ErrAbortHandler)
	}
	if a, ok := errors.AsType[*answered](err); ok {
		t.out.failure = ""
		t.relayAnswered(a)
		return
	}
	if !ok {
		e = badRequest(err.Error(), nil) // the body could not be read
	}
	t.setHeaders()
	t.out.code = e.Code
	e.writeIn(t.w, t.watch.Protocol)
}
