package api

import (
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// messages answers Anthropic's form of a chat.
func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	p := readSampling(b, "max_tokens")
	p.stop, p.trimFirst = b.strings("stop_sequences"), true
	if b.m["messages"] == nil {
		b.fail("missing", "messages", "Field required", b.m)
	}
	if b.m["max_tokens"] == nil {
		b.fail("missing", "max_tokens", "Field required", b.m)
	}
	var turns []tokens.Message
	if system := content(b.m["system"]); system != "" {
		turns = append(turns, tokens.Message{Role: "system", Content: system})
	}
	turns = append(turns, readMessages(b)...)
	j := &job{s: s, r: r, p: p, endpoint: "messages", id: "chatcmpl-" + s.requestID(r, b), model: s.modelName(p.model)}
	if f := s.prepareChat(b, j, turns); f != nil {
		if f.Type == "NotFoundError" {
			s.cfg.Engine.Reject(p.kv)
			writeJSON(w, f.Code, map[string]any{"type": "error", "error": map[string]string{"type": f.Type, "message": f.Message}})
			return
		}
		s.refuse(w, p, f)
		return
	}
	s.deliver(w, j, j.streamMessage, func(choices []choice) any {
		return j.messagesAnswer(choices[0])
	})
}

type messagesResponse struct {
	ID               string                 `json:"id"`
	Type             string                 `json:"type"`
	Role             string                 `json:"role"`
	Content          []messagePart          `json:"content"`
	Model            string                 `json:"model"`
	StopReason       string                 `json:"stop_reason"`
	StopSequence     *string                `json:"stop_sequence,omitempty"`
	Usage            messagesUsage          `json:"usage"`
	KVTransferParams *engine.TransferParams `json:"kv_transfer_params,omitempty"`
}

type messagePart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type messagesUsage struct {
	Input   int  `json:"input_tokens"`
	Output  int  `json:"output_tokens"`
	Created *int `json:"cache_creation_input_tokens,omitempty"`
	Cached  *int `json:"cache_read_input_tokens,omitempty"`
}

func (j *job) messagesAnswer(c choice) messagesResponse {
	out := messagesResponse{
		ID: j.id, Type: "message", Role: "assistant", Content: []messagePart{{"text", c.text}}, Model: j.model,
		Usage: messagesUsage{Input: len(j.prompts[0]), Output: len(c.tokens)}, KVTransferParams: c.last.Params,
	}
	out.StopReason, out.StopSequence = stopReason(c)
	if j.s.cfg.PromptTokensDetails {
		out.Usage.Input -= c.last.Created + c.last.Cached
		out.Usage.Created, out.Usage.Cached = &c.last.Created, &c.last.Cached
	}
	return out
}

// stopReason is why an answer ended, in Anthropic's words.
func stopReason(c choice) (string, *string) {
	switch stop, ok := c.stopReason.(string); {
	case c.finish == "length":
		return "max_tokens", nil
	case ok:
		return "stop_sequence", &stop
	}
	return "end_turn", nil
}

// streamMessage streams the answer as Anthropic's events.
func (j *job) streamMessage(w http.ResponseWriter) {
	ev := j.openEvents(w)
	send := func(name string, v map[string]any) error {
		v["type"] = name
		return ev.named(name, v)
	}
	var answer choice
	usage := func() messagesUsage { return messagesUsage{Input: len(j.prompts[0]), Output: len(answer.tokens)} }
	err := send("message_start", map[string]any{"message": map[string]any{
		"id": j.id, "type": "message", "role": "assistant", "content": []any{}, "model": j.model, "stop_reason": nil, "stop_sequence": nil, "usage": usage(),
	}})
	if err == nil {
		err = send("content_block_start", map[string]any{"index": 0, "content_block": messagePart{Type: "text"}})
	}
	if err == nil {
		err = j.outputs(j.r.Context(), func(_ int, o engine.Output) error {
			if o.Finish == "abort" {
				return engine.ErrDead
			}
			answer.add(o)
			return send("content_block_delta", map[string]any{"index": 0, "delta": messagePart{"text_delta", o.Text}})
		})
	}
	if err != nil {
		j.abort()
		ev.close(err)
		return
	}
	reason, sequence := stopReason(answer)
	_ = send("content_block_stop", map[string]any{"index": 0}) // the last one finds a dead client
	_ = send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence}, "usage": usage()})
	_ = send("message_stop", map[string]any{})
}
