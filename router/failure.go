package router

import (
	"context"
	"errors"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// answerError is a 200 that holds no answer.
type answerError string

func (e answerError) Error() string { return string(e) }

// countFailure counts a leg that failed by what its instance did. A client that
// left, and an answer that blames the request, are no instance's failure.
func (t *trip) countFailure(ctx context.Context, leg string, err error) {
	if ctx.Err() != nil {
		return
	}
	if kind := failureKind(err); kind != "" {
		t.s.metrics.InstanceFailure(leg, kind)
	}
}

// notSent reports whether nobody has seen the request.
func notSent(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.NotSent
}

// failureKind is the kind label of what a leg's error was, "" for none.
func failureKind(err error) string {
	if notSent(err) {
		return metrics.FailedConnect
	}
	if errors.Is(err, errPrefillTimeout) || errors.Is(err, upstream.ErrDeadline) {
		return metrics.FailedTimeout
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		return statusKind(e.code)
	}
	if e, ok := errors.AsType[*answered](err); ok {
		return statusKind(e.code)
	}
	if e, ok := errors.AsType[*handoff.RefusedError](err); ok {
		if e.Why == handoff.RefusedLate {
			return "" // the time was the other leg's
		}
		return metrics.FailedParams
	}
	if errors.Is(err, errNoHandoff) {
		return metrics.FailedParams
	}
	if _, ok := errors.AsType[answerError](err); ok {
		return metrics.FailedAnswer
	}
	return metrics.FailedReset
}

func statusKind(code int) string {
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return metrics.FailedBusy
	case code < 500 && !ownFault(code):
		return ""
	}
	return metrics.FailedStatus
}
