package api

import (
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	p := readSampling(b, "max_output_tokens")
	p.trimFirst = true
	messages := readInput(b)
	j := &job{s: s, r: r, p: p, endpoint: "responses", id: b.text("request_id"), model: s.modelName(p.model), echoed: readEchoed(b)}
	if j.id == "" {
		j.id = "resp_" + s.cfg.NewID(16)
	}
	f = b.failure()
	if f == nil {
		f = s.storeError(b)
	}
	if f == nil {
		f = s.prepareChat(b, j, messages)
	}
	if f != nil {
		s.refuse(w, p, f)
		return
	}
	s.deliver(w, j, j.streamResponse, func(choices []choice) any {
		return j.responsesAnswer(choices[0], "msg_"+s.cfg.NewID(16))
	})
}

// storeError refuses what needs responses to be stored, which vLLM does not do
// unless it is told to, and prompts that somebody else stores.
func (s *Server) storeError(b *body) *failure {
	background := b.truth("background")
	previous := b.text("previous_response_id")
	known := s.modelError(b.text("model")) == nil
	switch {
	case background && b.m["store"] != nil && !b.truth("store"):
		return withParam("background", "", "background can only be used when `store` is true")
	case b.has("prompt"):
		return withParam("prompt", "", "prompt template is not supported")
	case background && known:
		f := badRequest("background", "This vLLM engine does not support `store=True` and therefore does not support the background mode. "+
			"To enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.")
		f.Type = "invalid_request_error"
		return f
	case previous != "" && known:
		return unknownResponse(previous)
	}
	return nil
}

func unknownResponse(id string) *failure {
	param := "response_id"
	return &failure{Message: "Response with id '" + id + "' not found.", Type: "invalid_request_error", Param: &param, Code: http.StatusNotFound}
}

// storedResponse answers for one response by its id: none is stored.
func (s *Server) storedResponse(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeFailure(w, unknownResponse(id)) }
}

// echoed is what of a request a response repeats.
type echoed struct {
	instructions, metadata, user any
	parallel                     bool
	topP                         float64
	truncation                   string
}

func readEchoed(b *body) *echoed {
	e := &echoed{
		instructions: b.m["instructions"], metadata: b.m["metadata"], user: b.m["user"],
		parallel: b.m["parallel_tool_calls"] == nil || b.truth("parallel_tool_calls"), topP: b.number("top_p", 1), truncation: "disabled",
	}
	if t := b.text("truncation"); t != "" {
		e.truncation = t
	}
	return e
}

// readInput reads `input`: text or a list of messages, after `instructions`.
func readInput(b *body) []tokens.Message {
	var out []tokens.Message
	if in := b.text("instructions"); in != "" {
		out = append(out, tokens.Message{Role: "system", Content: in})
	}
	switch v := b.m["input"].(type) {
	case string:
		return append(out, tokens.Message{Role: "user", Content: v})
	case []any:
		inner := &body{m: map[string]any{"messages": v}}
		out = append(out, readMessages(inner)...)
		b.errs = append(b.errs, inner.errs...)
	case nil:
		b.fail("missing", "input", "Field required", b.m)
	default:
		b.fail("string_type", "input.str", "Input should be a valid string", v)
	}
	return out
}

type responsesUsage struct {
	Input        int `json:"input_tokens"`
	InputDetails struct {
		Cached     int   `json:"cached_tokens"`
		Write      int   `json:"cache_write_tokens"`
		PerTurn    []int `json:"input_tokens_per_turn"`
		CachedTurn []int `json:"cached_tokens_per_turn"`
	} `json:"input_tokens_details"`
	Output        int `json:"output_tokens"`
	OutputDetails struct {
		Reasoning   int   `json:"reasoning_tokens"`
		Tool        int   `json:"tool_output_tokens"`
		PerTurn     []int `json:"output_tokens_per_turn"`
		ToolPerTurn []int `json:"tool_output_tokens_per_turn"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

type responsesResponse struct {
	ID                string                 `json:"id"`
	Created           int64                  `json:"created_at"`
	Incomplete        *map[string]string     `json:"incomplete_details"`
	Instructions      any                    `json:"instructions"`
	Metadata          any                    `json:"metadata"`
	Model             string                 `json:"model"`
	Object            string                 `json:"object"`
	Output            []any                  `json:"output"`
	ParallelToolCalls bool                   `json:"parallel_tool_calls"`
	Temperature       float64                `json:"temperature"`
	ToolChoice        string                 `json:"tool_choice"`
	Tools             []any                  `json:"tools"`
	TopP              float64                `json:"top_p"`
	Background        bool                   `json:"background"`
	MaxOutputTokens   int                    `json:"max_output_tokens"`
	MaxToolCalls      any                    `json:"max_tool_calls"`
	Previous          any                    `json:"previous_response_id"`
	Prompt            any                    `json:"prompt"`
	Reasoning         any                    `json:"reasoning"`
	ServiceTier       string                 `json:"service_tier"`
	Status            string                 `json:"status"`
	Text              any                    `json:"text"`
	TopLogprobs       any                    `json:"top_logprobs"`
	Truncation        string                 `json:"truncation"`
	Usage             *responsesUsage        `json:"usage"`
	User              any                    `json:"user"`
	PresencePenalty   float64                `json:"presence_penalty"`
	FrequencyPenalty  float64                `json:"frequency_penalty"`
	KVTransferParams  *engine.TransferParams `json:"kv_transfer_params"`
	ECTransferParams  any                    `json:"ec_transfer_params"`
	InputMessages     any                    `json:"input_messages"`
	OutputMessages    any                    `json:"output_messages"`
}

// opening is the response before anything has been generated.
func (j *job) opening() responsesResponse {
	return responsesResponse{
		ID: j.id, Created: j.created, Model: j.model, Object: "response", Output: []any{}, ParallelToolCalls: j.echoed.parallel,
		Temperature: j.p.temperature, ToolChoice: "none", Tools: []any{}, TopP: j.echoed.topP, MaxOutputTokens: j.p.maxTokens,
		ServiceTier: "auto", Status: "in_progress", Truncation: j.echoed.truncation,
		Instructions: j.echoed.instructions, Metadata: j.echoed.metadata, User: j.echoed.user,
	}
}

// outputItem is the one message of a response.
type outputItem struct {
	ID      string       `json:"id"`
	Content []outputText `json:"content"`
	Role    string       `json:"role"`
	Status  string       `json:"status"`
	Type    string       `json:"type"`
	Phase   *string      `json:"phase"`
}

type outputText struct {
	Annotations []any  `json:"annotations"`
	Text        string `json:"text"`
	Type        string `json:"type"`
	Logprobs    []any  `json:"logprobs"`
}

func textPart(text string) outputText {
	return outputText{Annotations: []any{}, Text: text, Type: "output_text"}
}

func item(id string, c choice) outputItem {
	out := outputItem{ID: id, Content: []outputText{}, Role: "assistant", Status: "completed", Type: "message"}
	if c.text != "" {
		out.Content = append(out.Content, textPart(c.text))
	}
	return out
}

func (j *job) responsesAnswer(c choice, itemID string) responsesResponse {
	out := j.opening()
	out.Output, out.Status, out.KVTransferParams = []any{item(itemID, c)}, "completed", c.last.Params
	if c.finish == "length" {
		out.Status = "incomplete"
		out.Incomplete = &map[string]string{"reason": "max_output_tokens"}
	}
	u := &responsesUsage{Input: len(j.prompts[0]), Output: len(c.tokens)}
	u.Total = u.Input + u.Output
	u.InputDetails.Cached, u.InputDetails.Write = c.last.Cached, c.last.Created
	if !j.s.cfg.PromptTokensDetails {
		u.InputDetails.Cached, u.InputDetails.Write = 0, 0
	}
	u.InputDetails.PerTurn, u.InputDetails.CachedTurn = []int{}, []int{}
	u.OutputDetails.PerTurn, u.OutputDetails.ToolPerTurn = []int{}, []int{}
	out.Usage = u
	return out
}
