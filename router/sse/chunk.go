package sse

import (
	"encoding/json"
	"strconv"
	"sync"

	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// chunk is memory to read an event of OpenAI in. Each stream's first ones are
// read, and at that moment the client waits for its first token: encoding/json
// took longer for it than all else that is done then, and more stack than a
// request otherwise needs.
type chunk struct{ event, err, choice, delta body.Object }

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// maxChoices is how many choices of one event are looked at.
const maxChoices = 128

// judgeChunk reads one event of OpenAI.
func judgeChunk(data []byte) (v Verdict, done bool) {
	if string(data) == "[DONE]" {
		return Empty, true
	}
	c := chunks.Get().(*chunk)
	defer chunks.Put(c)
	if c.event.Reset(data) != nil {
		return Token, true // not vLLM's: nothing to judge by
	}
	if e := c.event.Get("error"); !none(e) {
		if c.err.Reset(e) != nil || isFault(c.err.Get("code")) {
			return Token, true // the request's own fault: no other instance would do better
		}
		return Failed, true
	}
	choices, _ := body.Elements(c.event.Get("choices"), maxChoices)
	for _, choice := range choices {
		if c.choice.Reset(choice) != nil {
			return Token, true
		}
		finish := c.choice.Get("finish_reason")
		if string(finish) == `"abort"` {
			return Aborted, true
		}
		if !none(finish) || c.delta.Reset(c.choice.Get("delta")) != nil || !announces(&c.delta) {
			return Token, true
		}
	}
	return Token, false
}

// announces reports whether a chat's chunk does no more than to name the role:
// chat opens with such a one, before the engine has done anything.
func announces(delta *body.Object) bool {
	role, content := delta.Get("role"), delta.Get("content")
	return !none(role) && string(role) != `""` && (none(content) || string(content) == `""`)
}

// isFault reports whether an error's code is a status that blames the request,
// or none of vLLM's, which are numbers: then there is nothing to judge by.
func isFault(code json.RawMessage) bool {
	status, err := strconv.Atoi(string(code))
	return !none(code) && (err != nil || status >= 400 && status < 500)
}

// none reports whether a member is absent or null.
func none(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
