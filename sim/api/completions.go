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
	}
	j := &job{s: s, r: r, p: p, endpoint: "completions", id: "cmpl-" + s.requestID(r), model: s.modelName(p.model)}
	if f := s.prepareCompletion(b, j); f != nil {
		s.refuse(w, p, f)
		return
	}
	if !s.start(w, j) {
		return
	}
	if p.stream {
		j.streamCompletion(w)
		return
	}
	choices, err := j.collect()
	if err != nil {
		j.answerError(w, err)
		return
	}
	j.orca(w)
	writeJSON(w, http.StatusOK, j.completionAnswer(choices, b.truth("echo")))
}

func (s *Server) prepareCompletion(b *body, j *job) *failure {
	j.prompts = readPrompts(b)
	if f := b.failure(); f != nil {
		return f
	}
	if f := j.p.checkEarly(); f != nil {
		return f
	}
	if len(j.prompts) == 0 || len(j.prompts[0]) == 0 {
		return withParam("prompt", "", "Either prompt or prompt_embeds must be provided and non-empty.")
	}
	if f := s.modelError(j.p.model); f != nil {
		return f
	}
	for _, prompt := range j.prompts {
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
		if len(v) == 0 {
			return nil
		}
		if _, ok := asInt(v[0]); ok {
			return [][]int{ids(b, "prompt", v)}
		}
		var out [][]int
		for i, x := range v {
			switch x := x.(type) {
			case string:
				out = append(out, tokens.Encode(x))
			case []any:
				out = append(out, ids(b, fmt.Sprintf("prompt.%d", i), x))
			default:
				b.fail("string_type", fmt.Sprintf("prompt.%d", i), "Input should be a valid string", x)
			}
		}
		return out
	default:
		b.fail("list_type", "prompt.list[int]", "Input should be a valid list", v)
		return nil
	}
}

func ids(b *body, loc string, list []any) []int {
	out := make([]int, len(list))
	for i, v := range list {
		n, ok := asInt(v)
		if !ok {
			b.fail("int_type", fmt.Sprintf("%s.%d", loc, i), "Input should be a valid integer", v)
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
	Index          int                 `json:"index"`
	Text           string              `json:"text"`
	Logprobs       *completionLogprobs `json:"logprobs"`
	FinishReason   string              `json:"finish_reason"`
	StopReason     any                 `json:"stop_reason"`
	TokenIDs       []int               `json:"token_ids"`
	PromptLogprobs *struct{}           `json:"prompt_logprobs"`
	PromptTokenIDs []int               `json:"prompt_token_ids"`
	RoutedExperts  *struct{}           `json:"routed_experts"`
}

func (j *job) completionAnswer(choices []choice, echo bool) completionResponse {
	out := completionResponse{
		ID: j.id, Object: "text_completion", Created: j.created, Model: j.model, SystemFingerprint: j.s.fingerprint(),
		Usage: j.count(choices), KVTransferParams: j.params(choices),
	}
	for i, c := range choices {
		prompt := j.prompts[i/j.p.n]
		cc := completionChoice{Index: i, Text: c.text, FinishReason: c.finish, StopReason: c.stopReason}
		cc.Logprobs = j.p.completionLogprobs(c.tokens, 0)
		if echo {
			cc.Text = tokens.DecodeAll(prompt) + c.text
		}
		if j.p.returnIDs {
			cc.TokenIDs, cc.PromptTokenIDs = c.tokens, prompt
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

// streamCompletion streams the choices. A KV load that failed ends the stream
// without a token and without an error, which is what vLLM does here and not
// for chats.
func (j *job) streamCompletion(w http.ResponseWriter) {
	ev := j.openEvents(w)
	choices := make([]choice, len(j.streams))
	base := completionChunk{ID: j.id, Object: "text_completion", Created: j.created, Model: j.model, Choices: []completionChunkChoice{}}
	ended := 0
	err := j.outputs(j.r.Context(), func(i int, o engine.Output) error {
		if o.Finish == "abort" {
			return engine.ErrDead
		}
		first := len(choices[i].tokens) == 0
		choices[i].add(o)
		cc := completionChunkChoice{Index: i, Text: o.Text, Logprobs: j.p.completionLogprobs(o.Tokens, 0), StopReason: o.StopReason}
		if j.p.returnIDs {
			cc.TokenIDs = o.Tokens
			if first {
				cc.PromptTokenIDs = j.prompts[i/j.p.n]
			}
		}
		c := base
		if o.Finish != "" {
			cc.FinishReason = &o.Finish
			if ended++; ended == len(choices) && !j.wantsUsage() {
				c.SystemFingerprint = j.s.fingerprint()
			}
		}
		c.Choices = []completionChunkChoice{cc}
		if j.p.continuousUsage && j.wantsUsage() {
			c.Usage = j.runningUsage(choices)
		}
		return ev.send(c)
	})
	if isLoadFailure(err) {
		err = nil
	}
	if err == nil && j.wantsUsage() {
		base.Usage, base.SystemFingerprint = j.finalUsage(choices), j.s.fingerprint()
		err = ev.send(base)
	}
	ev.close(err)
}
