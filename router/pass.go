package router

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// passedOn lists the endpoints of vLLM that are served by one instance as they
// are: no answer is written from a prompt's KV, so there is nothing to hand
// over. What changes an instance's state (adapters, sleep, scaling, weights,
// profiling, caches), what is for development, and what takes tokens and
// transfer parameters from whoever asks (/inference/v1/generate) is not in the
// list, and so cannot be reached through the router.
func passedOn() []handoff.Endpoint {
	return []handoff.Endpoint{
		"/v1/messages/count_tokens", "/tokenize", "/detokenize",
		"/v1/embeddings", "/v2/embed", "/pooling", "/classify",
		"/score", "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank", "/generative_scoring",
		"/v1/chat/completions/render", "/v1/completions/render", "/v1/responses/render", "/v1/messages/render",
		transcriptions, translations,
	}
}

// The endpoints that take a form with a file in it.
const (
	transcriptions handoff.Endpoint = "/v1/audio/transcriptions"
	translations   handoff.Endpoint = "/v1/audio/translations"
)

func takesForm(ep handoff.Endpoint) bool { return ep == transcriptions || ep == translations }

// takeForm checks a form and writes it anew, see readForm.
func (t *trip) takeForm(r *http.Request, raw []byte) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return badRequest("want Content-Type: multipart/form-data with a boundary", nil)
	}
	form, err := readForm(raw, params["boundary"])
	if err != nil {
		return badRequest("the form cannot be read: "+err.Error(), nil)
	}
	t.req.model, t.req.form = form.model, form.body
	r.Header["Content-Type"] = []string{form.contentType}
	t.takeHeader(r.Header)
	return nil
}

// pass serves a request by one instance. Only one that cannot be connected to
// is passed over for another: what was sent may have been done.
func (t *trip) pass(ctx context.Context) error {
	t.out.attempts = 1
	view, err := t.await(ctx)
	if err != nil {
		return err
	}
	t.out.path, t.out.reason = pd.PathLocal, pd.ReasonNotGenerative
	t.load.Blocks = t.load.Blocks[:0] // an earlier request's
	if t.req.object != nil {
		t.req.object.Splice(&t.leg)
	} else {
		t.leg.Set(t.req.form)
	}
	a, err := t.secondLeg(ctx, view.Decodes)
	if err == nil {
		t.relay(ctx, a)
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.NotSent {
		return unavailable(fmt.Sprintf("no instance can be connected to (last: %s: %v)", t.out.decode, err))
	}
	return badGateway(fmt.Sprintf("instance %s: %v", t.out.decode, err))
}
