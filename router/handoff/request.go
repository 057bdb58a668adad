package handoff

import (
	"encoding/json"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// transferKeys are the members that steer transfers between instances. From a
// client they can kill an engine or make it connect anywhere.
func transferKeys() []string { return []string{keyParams, "ec_transfer_params"} }

// Clean removes from a client's request everything that steers transfers, at
// the top level and in vllm_xargs, which vLLM merges into the same place. Of
// several vllm_xargs the last stays, so that no reader finds in the others what
// was removed from that.
func Clean(o *body.Object) (*body.Object, error) {
	edits := deletions(o)
	if raw := o.Get(keyXArgs); raw != nil {
		clean, err := cleanXArgs(raw)
		if err != nil {
			return nil, err
		}
		if len(clean) != len(raw) || o.Repeats(keyXArgs) {
			edits = append(edits, body.Edit{Key: keyXArgs, Value: clean})
		}
	}
	if len(edits) == 0 {
		return o, nil
	}
	return body.Parse(o.Apply(edits...))
}

func cleanXArgs(raw json.RawMessage) (json.RawMessage, error) {
	if raw[0] != '{' {
		return raw, nil // vLLM's to refuse
	}
	x, err := body.Parse(raw)
	if err != nil {
		return nil, err
	}
	return x.Apply(deletions(x)...), nil
}

// Prompt is what of a request vLLM computes, in the order in which it comes
// into the prompt, as written; parts that are not there are nil. The salt is
// not computed, but keeps caches apart.
func Prompt(ep Endpoint, o *body.Object) [4][]byte {
	salt := o.Get("cache_salt")
	switch ep {
	case Completions:
		return [4][]byte{salt, nil, nil, o.Get("prompt")}
	case Responses:
		return [4][]byte{salt, o.Get("tools"), o.Get("instructions"), o.Get("input")}
	case Messages:
		return [4][]byte{salt, o.Get("tools"), o.Get("system"), o.Get("messages")}
	}
	return [4][]byte{salt, o.Get("tools"), nil, o.Get("messages")}
}

const keyXArgs = "vllm_xargs"

func deletions(o *body.Object) []body.Edit {
	var edits []body.Edit
	for _, k := range transferKeys() {
		if o.Has(k) {
			edits = append(edits, body.Delete(k))
		}
	}
	return edits
}

// Unsupported says why two legs cannot carry the request, ReasonNone if they
// can. vLLM coerces what it reads ("2" and 2.0 are 2), so only the plain
// spelling of the harmless value counts as harmless; the rest goes the local
// way, where vLLM itself judges it.
func Unsupported(ep Endpoint, o *body.Object) pd.Reason {
	switch ep {
	case Responses:
		return unsupportedResponse(o)
	case Messages:
		return unsupportedMessage(o)
	}
	switch {
	case !isOneOf(o.Get("n"), "1"), !isOneOf(o.Get("best_of"), "1"), !isOneOf(o.Get("use_beam_search"), "false"):
		return pd.ReasonMultipleChoices
	case ep == Completions && severalPrompts(o.Get("prompt")):
		return pd.ReasonListPrompt
	case !isOneOf(o.Get("prompt_embeds"), "[]"), // no token ids, by which blocks are counted
		!isOneOf(o.Get("prompt_logprobs")), // the decode never computes the prompt's logits, and dies of their absence
		!isOneOf(o.Get("echo"), "false"),   // with logprobs it is prompt_logprobs
		// Leg 1's single token is no tool call, which vLLM answers with 400 or 500
		// where one is required. An easier tool_choice could change the prompt.
		ep == Chat && !isOneOf(o.Get("tool_choice"), `"auto"`, `"none"`),
		relative(o.Get("truncate_prompt_tokens")): // depends on max_tokens, so the legs' prompts would differ
		return pd.ReasonUnsupportedRequest
	}
	return pd.ReasonNone
}

// isOneOf reports whether a value is absent, null, or written as given.
func isOneOf(raw json.RawMessage, harmless ...string) bool {
	if raw == nil || string(raw) == "null" {
		return true
	}
	for _, h := range harmless {
		if string(raw) == h {
			return true
		}
	}
	return false
}

// severalPrompts reports whether /v1/completions got more than one prompt. A
// list of numbers is one prompt of token ids.
func severalPrompts(prompt json.RawMessage) bool {
	elements, ok := body.Elements(prompt, 2)
	if !ok || len(elements) < 2 {
		return false
	}
	return !isNumber(elements[0])
}

func isNumber(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

// relative reports whether a truncation is not a plain count of tokens.
func relative(raw json.RawMessage) bool {
	return !isOneOf(raw) && (raw[0] < '0' || raw[0] > '9')
}
