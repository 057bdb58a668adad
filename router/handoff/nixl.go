package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
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

// ErrNoParams is wrapped by what Params returns for an answer that is in order
// but hands nothing over: the prefill has no connector, or finished otherwise.
var ErrNoParams = errors.New("no usable " + keyParams)

// Params takes kv_transfer_params out of leg 1's answer, as written, after
// checking the parts without which vLLM's decode hangs or dies.
func Params(answer []byte) (json.RawMessage, error) {
	o, err := body.Parse(answer)
	if err != nil {
		return nil, fmt.Errorf("read prefill's answer: %w", err)
	}
	raw := o.Get(keyParams)
	if raw == nil || string(raw) == "null" {
		return nil, fmt.Errorf("%w: absent or null; does the prefill run with a KV connector?", ErrNoParams)
	}
	var p struct {
		DoRemotePrefill bool              `json:"do_remote_prefill"`
		DoRemoteDecode  bool              `json:"do_remote_decode"`
		EngineID        string            `json:"remote_engine_id"`
		Host            string            `json:"remote_host"`
		Port            int               `json:"remote_port"`
		RequestID       string            `json:"remote_request_id"`
		BlockIDs        []json.RawMessage `json:"remote_block_ids"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%w: of another shape than NIXL's", ErrNoParams)
	}
	missing := ""
	switch {
	case !p.DoRemotePrefill:
		missing = "do_remote_prefill is not true"
	case p.DoRemoteDecode:
		missing = "do_remote_decode is true as well" // both kill the engine
	case p.EngineID == "":
		missing = "remote_engine_id"
	case p.Host == "":
		missing = "remote_host"
	case p.Port < 1 || p.Port > 65535:
		missing = "remote_port"
	case p.RequestID == "":
		missing = "remote_request_id"
	case p.BlockIDs == nil:
		missing = "remote_block_ids"
	default:
		return raw, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoParams, missing)
}
