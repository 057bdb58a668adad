package sse

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// JudgeWhole judges an answer that was not streamed.
func (p Protocol) JudgeWhole(answer []byte) Verdict {
	if p != OpenAI {
		return p.judgeNamed(answer)
	}
	// Nothing of an OpenAI answer is JSON of a client's or a model's: what they
	// say is in strings, in which quotes are escaped.
	switch {
	case !body.Valid(answer):
		return Garbage
	case bytes.Contains(answer, []byte(`"finish_reason":"abort"`)):
		return Aborted
	case bytes.Contains(answer, []byte(`"choices":[]`)), noTokens(answer):
		return Empty
	}
	return Token
}

// noTokens reports whether the answer's usage counts no token that was written.
func noTokens(answer []byte) bool {
	_, rest, ok := bytes.Cut(answer, []byte(`"completion_tokens":0`))
	return ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}')
}

// judgeNamed reads the members at the top, for further in there is JSON that
// may say anything: a response repeats its request's metadata and tools, a
// message has the input of a tool.
func (p Protocol) judgeNamed(answer []byte) Verdict {
	var top struct {
		Type   string       `json:"type"`
		Status string       `json:"status"`
		Stop   *string      `json:"stop_reason"`
		Usage  *outputCount `json:"usage"`
	}
	err := json.Unmarshal(answer, &top)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Garbage
	}
	// A member of another type than vLLM's is nothing to judge by.
	switch {
	case p == Responses && top.Status == "cancelled", p == Messages && top.Type == "message" && top.Stop == nil:
		return Aborted
	case top.Usage.none():
		return Empty
	}
	return Token
}
