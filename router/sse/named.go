package sse

import (
	"encoding/json"
	"strings"
)

// Protocol is how an endpoint's answers are written.
type Protocol int

// The protocols.
const (
	// OpenAI is that of chat and completions: unnamed events, [DONE] at the end.
	OpenAI Protocol = iota
	// Responses is that of /v1/responses: named events, numbered.
	Responses
	// Messages is Anthropic's: named events.
	Messages
)

// namedEvent is what of an event of the two protocols with names decides.
type namedEvent struct {
	Type  string          `json:"type"`
	Error json.RawMessage `json:"error"`
	Usage *outputCount    `json:"usage"` // Messages
	Delta *struct {
		StopReason *string `json:"stop_reason"`
	} `json:"delta"`
	Response *struct {
		Status string       `json:"status"`
		Usage  *outputCount `json:"usage"`
	} `json:"response"`
}

type outputCount struct {
	Output int `json:"output_tokens"`
}

// none reports whether a count is there and says that nothing was written.
func (c *outputCount) none() bool { return c != nil && c.Output == 0 }

// judgeResponse reads one event of Responses. What comes before the first
// delta is announced, by and large before the engine has done anything.
func judgeResponse(data []byte) (v Verdict, done bool) {
	var e namedEvent
	if json.Unmarshal(data, &e) != nil {
		return Token, true // not vLLM's: nothing to judge by
	}
	switch {
	case e.Type == "response.created", e.Type == "response.queued", e.Type == "response.in_progress", strings.HasSuffix(e.Type, ".added"):
		return Token, false
	case e.Type == "error", e.Type == "response.failed", !none(e.Error):
		return Failed, true
	case e.Response == nil:
		return Token, true
	case e.Response.Status == "cancelled":
		return Aborted, true
	case e.Response.Usage.none():
		return Empty, true // a stop before the first token reads like this, too
	}
	return Token, true
}

// judgeMessage reads one event of Messages. A stop without a reason is how
// vLLM tells here that it gave the answer up.
func judgeMessage(data []byte) (v Verdict, done bool) {
	var e namedEvent
	if json.Unmarshal(data, &e) != nil {
		return Token, true
	}
	switch e.Type {
	case "message_start", "ping", "content_block_start":
		return Token, false
	case "error":
		return Failed, true
	case "message_stop":
		return Empty, true
	case "message_delta":
		switch {
		case e.Delta != nil && e.Delta.StopReason == nil:
			return Aborted, true
		case e.Usage.none():
			return Empty, true
		}
	}
	return Token, true
}
