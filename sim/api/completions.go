package api

import (
	"fmt"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// defaultCompletion is how long a completion is when the request does not say.
const defaultCompletion = 16

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	p := readSampling(b, "max_tokens")
	if b.has("logprobs") {
		p.logprobs = b.whole("logprobs", 0)
		if p.logprobs == -1 {
			p.logprobs = tokens.Words() // all of the vocabulary
		}
	}
	if p.echo && p.promptLogprobs < 0 {
		p.promptLogprobs = p.logprobs
	}
	echoOnly := p.echo && p.hasMax && p.maxTokens == 0
	if echoOnly {
		p.maxTokens = 1
	}
	j := &job{s: s, r: r, p: p, endpoint: "completions", id: "cmpl-" + s.requestID(r, b), model: s.modelName(p.model)}
	if f := s.prepareCompletion(b, j); f != nil {
		s.refuse(w, p, f)
		return
	}
	s.deliver(w, j, j.streamCompletion, func(choices []choice) any {
		j.orca(w)
		return j.completionAnswer(choices, echoOnly)
	})
}

func (s *Server) prepareCompletion(b *body, j *job) *failure {
	j.prompts = readPrompts(b)
	if f := b.failure(); f != nil {
		return f
	}
	if f := j.p.checkEarly(b); f != nil {
		return f
	}
	if list, ok := b.m["prompt"].([]any); ok && len(list) == 0 {
		return badRequest("", "You must pass at least one prompt")
	}
	if len(j.prompts) == 0 || len(j.prompts[0]) == 0 {
		return withParam("prompt", "", "Either prompt or prompt_embeds must be provided and non-empty.")
	}
	if f := s.modelError(j.p.model); f != nil {
		return f
	}
	if b.m["suffix"] != nil {
		return badRequest("suffix", "suffix is only supported for models with FIM completion rendering")
	}
	if f := s.rankError(j.r); f != nil {
		return f
	}
	if f := s.drainError(); f != nil {
		return f
	}
	for i, prompt := range j.prompts {
		for _, id := range prompt {
			if !tokens.Valid(id) {
				return badRequest("", fmt.Sprintf("Token id %d is out of vocabulary", id))
			}
		}
		prompt = j.p.cutPrompt(prompt)
		j.prompts[i] = prompt
		if f := j.p.fit(prompt, s.cfg.MaxModelLen, defaultCompletion); f != nil {
			return f
		}
	}
	return j.p.check(b)
}

// readPrompts reads text, tokens, or a list of either.
func readPrompts(b *body) [][]int {
	switch v := b.m["prompt"].(type) {
	case nil:
		return nil
	case string:
		return [][]int{tokens.Encode(v)}
	case []any:
		return readPromptList(b, v)
	default:
		b.fail("list_type", "prompt", "Input should be a valid list", v)
		return nil
	}
}

func readPromptList(b *body, list []any) [][]int {
	var out [][]int
	var flat []int
	for _, x := range list {
		switch x := x.(type) {
		case string:
			out = append(out, tokens.Encode(x))
		case []any:
			out = append(out, readIDs(b, x))
		default:
			flat = append(flat, readIDs(b, []any{x})...)
		}
	}
	if len(flat) > 0 && len(out) > 0 {
		b.fail("int_parsing", "prompt.0", "Input should be a valid integer", list[0])
	}
	if len(flat) > 0 {
		return [][]int{flat}
	}
	return out
}

func readIDs(b *body, list []any) []int {
	out := make([]int, len(list))
	for i, v := range list {
		n, ok := asInt(v)
		switch {
		case !ok:
			b.fail("int_type", fmt.Sprintf("prompt.%d", i), "Input should be a valid integer", v)
		case n < 0:
			b.fail("greater_than_equal", fmt.Sprintf("prompt.%d", i), "Input should be greater than or equal to 0", v)
		}
		out[i] = n
	}
	return out
}

type completionResponse struct {
	ID                string                 `json:"id"`
	Object            string                 `json:"object"`
	Created           int64                  `json:"created"`
	Model             string                 `json:"model"`
	Choices           []completionChoice     `json:"choices"`
	ServiceTier       *string                `json:"service_tier"`
	SystemFingerprint string                 `json:"system_fingerprint"`
	Usage             usage                  `json:"usage"`
	KVTransferParams  *engine.TransferParams `json:"kv_transfer_params"`
	ECTransferParams  *struct{}              `json:"ec_transfer_params"`
	Metrics           *struct{}              `json:"metrics"`
}

type completionChoice struct {
	Index          int                        `json:"index"`
	Text           string                     `json:"text"`
	Logprobs       *completionLogprobs        `json:"logprobs"`
	FinishReason   string                     `json:"finish_reason"`
	StopReason     any                        `json:"stop_reason"`
	TokenIDs       []int                      `json:"token_ids"`
	PromptLogprobs []map[string]promptLogprob `json:"prompt_logprobs"`
	PromptTokenIDs []int                      `json:"prompt_token_ids"`
	RoutedExperts  *struct{}                  `json:"routed_experts"`
}

// completionAnswer is the whole answer; echoOnly leaves out what was generated.
func (j *job) completionAnswer(choices []choice, echoOnly bool) completionResponse {
	out := completionResponse{
		ID: j.id, Object: "text_completion", Created: j.created, Model: j.model, SystemFingerprint: j.s.fingerprint(),
		Usage: j.count(choices), KVTransferParams: j.params(choices),
	}
	for i, c := range choices {
		prompt := j.prompts[i/j.p.n]
		text, ids := c.text, c.tokens
		if echoOnly {
			text, ids = "", nil
		}
		cc := completionChoice{Index: i, Text: text, FinishReason: c.finish, StopReason: c.stopReason, PromptLogprobs: j.p.promptLogs(prompt)}
		if j.p.echo {
			cc.Text = tokens.DecodeAll(prompt) + text
			cc.Logprobs = j.p.completionLogprobs(prompt, ids)
		} else {
			cc.Logprobs = j.p.completionLogprobs(nil, ids)
		}
		if j.p.returnIDs {
			cc.TokenIDs, cc.PromptTokenIDs = ids, prompt
		}
		out.Choices = append(out.Choices, cc)
	}
	return out
}

type completionChunk struct {
	ID                string                  `json:"id"`
	Object            string                  `json:"object"`
	Created           int64                   `json:"created"`
	Model             string                  `json:"model"`
	Choices           []completionChunkChoice `json:"choices"`
	Usage             *streamUsage            `json:"usage,omitempty"`
	SystemFingerprint string                  `json:"system_fingerprint,omitempty"`
}

type completionChunkChoice struct {
	Index          int                 `json:"index"`
	Text           string              `json:"text"`
	Logprobs       *completionLogprobs `json:"logprobs"`
	FinishReason   *string             `json:"finish_reason"`
	StopReason     any                 `json:"stop_reason"`
	PromptTokenIDs []int               `json:"prompt_token_ids"`
	TokenIDs       []int               `json:"token_ids"`
}
