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
	for _, name := range []string{"model", "messages", "max_tokens"} {
		if b.m[name] == nil {
			b.fail("missing", name, "Field required", b.m)
		}
	}
	if b.has("max_tokens") && p.maxTokens <= 0 && b.failure() == nil {
		b.fail("value_error", "max_tokens", "Value error, max_tokens must be positive", b.m["max_tokens"])
	}
	turns := readTurns(b)
	j := &job{s: s, r: r, p: p, endpoint: "messages", id: "chatcmpl-" + s.requestID(r, b), model: s.modelName(p.model)}
	if f := s.prepareChat(b, j, turns); f != nil {
		if p.kv != nil {
			s.cfg.Engine.Reject(p.kv)
		}
		writeMessageFailure(w, f)
		return
	}
	s.deliver(w, j, j.streamMessage, func(choices []choice) any {
		return j.messagesAnswer(choices[0])
	})
}

// readTurns reads a conversation with its system prompt.
func readTurns(b *body) []tokens.Message {
	var turns []tokens.Message
	if system := content(b.m["system"]); system != "" {
		turns = append(turns, tokens.Message{Role: "system", Content: system})
	}
	return append(turns, readMessages(b)...)
}

// writeMessageFailure answers in Anthropic's shape, except for what is wrong
// with the request's form, which vLLM finds before the endpoint has a say.
func writeMessageFailure(w http.ResponseWriter, f *failure) {
	if f.Type == badForm {
		writeFailure(w, f)
		return
	}
	writeJSON(w, f.Code, map[string]any{"type": "error", "error": map[string]string{"type": f.Type, "message": f.Message}})
}

// countTokens answers how long a conversation's prompt is.
func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	for _, name := range []string{"model", "messages"} {
		if b.m[name] == nil {
			b.fail("missing", name, "Field required", b.m)
		}
	}
	model := b.text("model")
	turns := readTurns(b)
	if f = b.failure(); f == nil {
		f = s.modelError(model)
	}
	if f != nil {
		writeMessageFailure(w, f)
		return
	}
	n := len(tokens.Chat(turns, true))
	writeJSON(w, http.StatusOK, map[string]any{"input_tokens": n, "context_management": map[string]int{"original_input_tokens": n}})
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
	opened := false
	if err == nil {
		err = j.outputs(j.r.Context(), func(_ int, o engine.Output) error {
			if o.Finish == "abort" {
				return engine.ErrDead
			}
			if !opened {
				opened = true
				if err := send("content_block_start", map[string]any{"index": 0, "content_block": messagePart{Type: "text"}}); err != nil {
					return err
				}
			}
			answer.add(o)
			return send("content_block_delta", map[string]any{"index": 0, "delta": messagePart{"text_delta", o.Text}})
		})
	}
	if err != nil {
		j.abort()
		ev.closeNamed(err, func(f *failure) error {
			// vLLM puts the chat's error event through a check that it does not pass.
			return send("error", map[string]any{"error": map[string]string{"type": "internal_error", "message": f.Message}})
		})
		return
	}
	reason, sequence := stopReason(answer)
	_ = send("content_block_stop", map[string]any{"index": 0}) // the last one finds a dead client
	_ = send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence}, "usage": usage()})
	_ = send("message_stop", map[string]any{})
}
