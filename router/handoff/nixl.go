package handoff

import (
	"encoding/json"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// Endpoint is a path that generates, the same at the router and at vLLM.
type Endpoint string

// The endpoints that can be disaggregated.
const (
	Chat        Endpoint = "/v1/chat/completions"
	Completions Endpoint = "/v1/completions"
	Responses   Endpoint = "/v1/responses" // OpenAI's newer one
	Messages    Endpoint = "/v1/messages"  // Anthropic's
)

// Endpoints lists them.
func Endpoints() []Endpoint { return []Endpoint{Chat, Completions, Responses, Messages} }

// keyParams is the member that carries the handoff in both directions.
const keyParams = "kv_transfer_params"

// keyRequestID is the member that names a request, where a client chose to.
const keyRequestID = "request_id"

// askForHandoff makes a prefill keep the prompt's KV for a remote decode. All
// of the keys are there, as null, because vLLM's own proxy sends them so.
const askForHandoff = `{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}`

// NIXL shapes the legs' bodies. It is immutable.
type NIXL struct {
	prefill map[Endpoint][]body.Edit
}

// NewNIXL prepares the edits, which are the same for every request.
func NewNIXL() *NIXL {
	common := []body.Edit{
		body.Set("stream", "false"),
		body.Set("max_tokens", "1"),
		body.Delete("stream_options"),
		body.Delete("min_tokens"),
		body.Delete("min_completion_tokens"),
		body.Set(keyParams, askForHandoff),
	}
	return &NIXL{prefill: map[Endpoint][]body.Edit{
		Completions: common,
		Messages:    {body.Set("stream", "false"), body.Set("max_tokens", "1"), body.Set(keyParams, askForHandoff)},
		// Where responses are stored, nobody would ever fetch this one.
		Responses: {
			body.Set("stream", "false"), body.Set("max_output_tokens", "1"), body.Set("store", "false"),
			body.Delete("stream_options"), body.Set(keyParams, askForHandoff),
		},
		// In chat this one wins over max_tokens, where a client sent it.
		Chat: append(slices.Clone(common), body.Set("max_completion_tokens", "1")),
	}}
}

// PrefillBody is leg 1's body: the client's request for one token, not
// streamed, with a handoff asked for. The minimum of tokens goes, because vLLM
// answers 400 if it is above the maximum; stream_options goes, because vLLM
// answers 400 if it comes without stream. id is the leg's X-Request-Id, which
// /v1/responses does not read: there it goes into the body, so that the handoff
// can be told from another request's.
func (x *NIXL) PrefillBody(into *body.Pieces, ep Endpoint, o *body.Object, id string) {
	edits := x.prefill[ep]
	if ep == Responses && !o.Has(keyRequestID) {
		edits = append(slices.Clip(edits), body.Set(keyRequestID, `"resp_`+id+`"`))
	}
	o.Splice(into, edits...)
}

// DecodeBody is leg 2's body: the client's request with the prefill's params,
// which are copied.
func (x *NIXL) DecodeBody(into *body.Pieces, o *body.Object, params json.RawMessage) {
	o.Splice(into, body.Edit{Key: keyParams, Value: params})
}
