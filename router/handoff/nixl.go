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
)

// keyParams is the member that carries the handoff in both directions.
const keyParams = "kv_transfer_params"

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
		// In chat this one wins over max_tokens, where a client sent it.
		Chat: append(slices.Clone(common), body.Set("max_completion_tokens", "1")),
	}}
}

// PrefillBody is leg 1's body: the client's request for one token, not
// streamed, with a handoff asked for. The minimum of tokens goes, because vLLM
// answers 400 if it is above the maximum; stream_options goes, because vLLM
// answers 400 if it comes without stream.
func (x *NIXL) PrefillBody(into *body.Pieces, ep Endpoint, o *body.Object) {
	o.Splice(into, x.prefill[ep]...)
}

// DecodeBody is leg 2's body: the client's request with the prefill's params,
// which are copied.
func (x *NIXL) DecodeBody(into *body.Pieces, o *body.Object, params json.RawMessage) {
	o.Splice(into, body.Edit{Key: keyParams, Value: params})
}
