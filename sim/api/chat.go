package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	p := readSampling(b, "max_completion_tokens", "max_tokens")
	p.trimFirst = true
	if b.truth("logprobs") {
		p.logprobs = b.whole("top_logprobs", 0)
	}
	if p.echo && p.promptLogprobs < 0 {
		p.promptLogprobs = max(p.logprobs, 0)
	}
	if v, there := b.m["messages"]; !there {
		b.fail("missing", "messages", "Field required", b.m)
	} else if v == nil {
		s.refuse(w, p, badRequest("", "'NoneType' object is not iterable"))
		return
	}
	messages := readMessages(b)
	j := &job{s: s, r: r, p: p, endpoint: "chat", id: "chatcmpl-" + s.requestID(r, b), model: s.modelName(p.model)}
	if f := s.prepareChat(b, j, messages); f != nil {
		s.refuse(w, p, f)
		return
	}
	s.deliver(w, j, j.streamChat, func(choices []choice) any {
		j.orca(w)
		return j.chatAnswer(choices)
	})
}

// prepareChat makes the checks in vLLM's order.
func (s *Server) prepareChat(b *body, j *job, messages []tokens.Message) *failure {
	if f := b.failure(); f != nil {
		return f
	}
	if f := j.p.checkEarly(b); f != nil {
		return f
	}
	if f := checkTools(b); f != nil {
		return f
	}
	if b.has("top_logprobs") && j.p.logprobs < 0 {
		return withParam("top_logprobs", "", "when using `top_logprobs`, `logprobs` must be set to true.")
	}
	if f := s.modelError(j.p.model); f != nil {
		return f
	}
	if f := s.rankError(j.r); f != nil {
		return f
	}
	if f := s.drainError(); f != nil {
		return f
	}
	if f := s.checkParts(b, messages); f != nil {
		return f
	}
	prompt := tokens.Chat(messages, true)
	if ids, ok := given(j.p.kv); ok {
		prompt = ids
	}
	prompt = j.p.cutPrompt(prompt)
	if f := j.p.fit(prompt, s.cfg.MaxModelLen, s.cfg.MaxModelLen); f != nil {
		return f
	}
	j.prompts = [][]int{prompt}
	return j.p.check(b)
}

// given is the prompt's tokens that a router may pass on from leg 1.
func given(kv map[string]any) ([]int, bool) {
	list, ok := kv["prompt_token_ids"].([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	ids := make([]int, len(list))
	for i, v := range list {
		if ids[i], ok = asInt(v); !ok {
			return nil, false
		}
	}
	return ids, true
}

// readMessages reads a conversation; contents may be text or a list of parts.
func readMessages(b *body) []tokens.Message {
	var out []tokens.Message
	for i, v := range b.list("messages") {
		m, ok := v.(map[string]any)
		if !ok {
			b.fail("dict_type", fmt.Sprintf("messages.%d", i), "Input should be a valid dictionary", v)
			continue
		}
		role, ok := m["role"].(string)
		if !ok {
			for _, kind := range []string{"Developer", "System", "User", "Assistant", "Tool", "Function"} {
				b.fail("missing", fmt.Sprintf("messages.%d.ChatCompletion%sMessageParam.role", i, kind), "Field required", m)
			}
			continue
		}
		switch m["content"].(type) {
		case nil, string, []any:
		default:
			b.fail("string_type", fmt.Sprintf("messages.%d.ChatCompletionDeveloperMessageParam.content", i), "Input should be a valid string", m["content"])
		}
		out = append(out, tokens.Message{Role: role, Content: content(m["content"])})
	}
	return out
}

func content(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var parts []string
		for _, p := range v {
			if m, ok := p.(map[string]any); ok {
				if t, ok := m["text"].(string); ok {
					parts = append(parts, t)
				}
			}
		}
		return strings.Join(parts, "\n")
	}
	return ""
}

type chatResponse struct {
	ID                string                     `json:"id"`
	Object            string                     `json:"object"`
	Created           int64                      `json:"created"`
	Model             string                     `json:"model"`
	Choices           []chatChoice               `json:"choices"`
	ServiceTier       *string                    `json:"service_tier"`
	SystemFingerprint string                     `json:"system_fingerprint"`
	Usage             usage                      `json:"usage"`
	PromptLogprobs    []map[string]promptLogprob `json:"prompt_logprobs"`
	PromptTokenIDs    []int                      `json:"prompt_token_ids"`
	PromptText        *string                    `json:"prompt_text"`
	KVTransferParams  *engine.TransferParams     `json:"kv_transfer_params"`
	ECTransferParams  *struct{}                  `json:"ec_transfer_params"`
	Metrics           *struct{}                  `json:"metrics"`
}

type chatChoice struct {
	Index         int           `json:"index"`
	Message       chatMessage   `json:"message"`
	Logprobs      *chatLogprobs `json:"logprobs"`
	FinishReason  string        `json:"finish_reason"`
	StopReason    any           `json:"stop_reason"`
	TokenIDs      []int         `json:"token_ids"`
	RoutedExperts *struct{}     `json:"routed_experts"`
}

type chatMessage struct {
	Role         string    `json:"role"`
	Content      string    `json:"content"`
	Refusal      *string   `json:"refusal"`
	Annotations  *struct{} `json:"annotations"`
	Audio        *struct{} `json:"audio"`
	FunctionCall *struct{} `json:"function_call"`
	Reasoning    *string   `json:"reasoning"`
}

func (j *job) chatAnswer(choices []choice) chatResponse {
	out := chatResponse{
		ID: j.id, Object: "chat.completion", Created: j.created, Model: j.model, SystemFingerprint: j.s.fingerprint(),
		Usage: j.count(choices), KVTransferParams: j.params(choices),
	}
	out.PromptLogprobs = j.p.promptLogs(j.prompts[0])
	if j.p.returnIDs {
		out.PromptTokenIDs = j.prompts[0]
	}
	for i, c := range choices {
		cc := chatChoice{Index: i, Message: chatMessage{Role: "assistant", Content: c.text}, FinishReason: c.finish, StopReason: c.stopReason}
		cc.Logprobs = j.p.chatLogprobs(c.tokens)
		if j.p.returnIDs {
			cc.TokenIDs = c.tokens
		}
		out.Choices = append(out.Choices, cc)
	}
	return out
}
