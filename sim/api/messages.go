package api

import (
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// messages answers Anthropic's form of a chat, without streaming.
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
	var turns []tokens.Message
	if system := content(b.m["system"]); system != "" {
		turns = append(turns, tokens.Message{Role: "system", Content: system})
	}
	turns = append(turns, readMessages(b)...)
	j := &job{s: s, r: r, p: p, endpoint: "messages", id: "chatcmpl-" + s.requestID(r), model: s.modelName(p.model)}
	if f := s.prepareChat(b, j, turns); f != nil {
		s.refuse(w, p, f)
		return
	}
	if p.stream {
		s.refuse(w, p, badRequest("stream", "streaming of /v1/messages is not simulated"))
		return
	}
	if !s.start(w, j) {
		return
	}
	choices, err := j.collect()
	if err != nil {
		j.answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, j.messagesAnswer(choices[0]))
}

type messagesResponse struct {
	ID               string                 `json:"id"`
	Type             string                 `json:"type"`
	Role             string                 `json:"role"`
	Content          []map[string]string    `json:"content"`
	Model            string                 `json:"model"`
	StopReason       string                 `json:"stop_reason"`
	StopSequence     any                    `json:"stop_sequence"`
	Usage            map[string]int         `json:"usage"`
	KVTransferParams *engine.TransferParams `json:"kv_transfer_params"`
}

func (j *job) messagesAnswer(c choice) messagesResponse {
	out := messagesResponse{
		ID: j.id, Type: "message", Role: "assistant", Content: []map[string]string{{"type": "text", "text": c.text}}, Model: j.model,
		StopReason: "end_turn", Usage: map[string]int{"input_tokens": len(j.prompts[0]), "output_tokens": len(c.tokens)},
		KVTransferParams: c.last.Params,
	}
	switch stop, ok := c.stopReason.(string); {
	case c.finish == "length":
		out.StopReason = "max_tokens"
	case ok:
		out.StopReason, out.StopSequence = "stop_sequence", stop
	}
	return out
}
