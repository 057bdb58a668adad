package handoff

import (
	"encoding/json"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// unsupportedResponse is Unsupported for /v1/responses.
func unsupportedResponse(o *body.Object) pd.Reason {
	switch {
	case !isOneOf(o.Get("background"), "false"), // answered before it is computed, and fetched from who computes it
		!isOneOf(o.Get("previous_response_id")), // its turns are in one server's memory
		// "auto" keeps room for max_output_tokens, so the legs' prompts would differ.
		!isOneOf(o.Get("truncation"), `"disabled"`),
		!isOneOf(o.Get("tool_choice"), `"auto"`, `"none"`), // as for chat
		runsTools(o.Get("tools")):
		return pd.ReasonUnsupportedRequest
	}
	return pd.ReasonNone
}

// runsTools reports whether vLLM itself might run a tool. It then generates
// again, for a longer prompt and with the same kv_transfer_params, which are
// single use.
func runsTools(tools json.RawMessage) bool {
	if isOneOf(tools) {
		return false
	}
	elements, ok := body.Elements(tools, maxTools+1)
	if !ok || len(elements) > maxTools {
		return true // vLLM's to refuse, or too many to look at
	}
	for _, raw := range elements {
		if !typeIsOneOf(raw, "function", "custom", "namespace") {
			return true
		}
	}
	return false
}

// maxTools bounds how many tools are looked at.
const maxTools = 1024

// unsupportedMessage is Unsupported for /v1/messages.
func unsupportedMessage(o *body.Object) pd.Reason {
	if choice := o.Get("tool_choice"); !isOneOf(choice) && !typeIsOneOf(choice, "auto", "none") {
		return pd.ReasonUnsupportedRequest // a call is required, as for chat
	}
	return pd.ReasonNone
}

// typeIsOneOf reports whether a value is an object whose type is one of these.
func typeIsOneOf(raw json.RawMessage, names ...string) bool {
	o, err := body.Parse(raw)
	if err != nil {
		return false
	}
	kind, ok := body.Text(o.Get("type"))
	for _, n := range names {
		if ok && kind == n {
			return true
		}
	}
	return false
}
