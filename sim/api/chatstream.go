package api

import (
	"encoding/json"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
)

// chunk is one event of a streamed chat. Which fields are there at all differs
// between the first, the last and the others, as in vLLM, which leaves out
// fields that were not set.
type chunk struct {
	ID                string       `json:"id"`
	Object            string       `json:"object"`
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	Choices           []any        `json:"choices"`
	Usage             *streamUsage `json:"usage,omitempty"`
	SystemFingerprint string       `json:"system_fingerprint,omitempty"`
	*firstChunk
}

type firstChunk struct {
	PromptTokenIDs []int   `json:"prompt_token_ids"`
	PromptText     *string `json:"prompt_text"`
}

// streamUsage is the usage inside a stream: details are left out rather than null.
type streamUsage struct {
	Prompt            int              `json:"prompt_tokens"`
	Total             int              `json:"total_tokens"`
	Completion        int              `json:"completion_tokens"`
	PromptDetails     *streamDetails   `json:"prompt_tokens_details,omitempty"`
	CompletionDetails *json.RawMessage `json:"completion_tokens_details,omitempty"`
}

type streamDetails struct {
	Cached  int  `json:"cached_tokens"`
	Created *int `json:"created_cache_tokens,omitempty"`
}

type delta struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type openChoice struct {
	Index        int           `json:"index"`
	Delta        delta         `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type textChoice struct {
	openChoice
	TokenIDs []int `json:"token_ids"`
}

type lastChoice struct {
	openChoice
	StopReason any   `json:"stop_reason"`
	TokenIDs   []int `json:"token_ids"`
}

// chatStream is the state of a streamed chat.
type chatStream struct {
	*job
	ev      *events
	choices []choice
	opened  bool
}

func (j *job) streamChat(w http.ResponseWriter) {
	s := &chatStream{job: j, ev: j.openEvents(w), choices: make([]choice, len(j.streams))}
	err := j.outputs(j.r.Context(), s.output)
	if err == nil && j.wantsUsage() {
		err = s.ev.send(chunk{
			ID: j.id, Object: "chat.completion.chunk", Created: j.created, Model: j.model, Choices: []any{},
			Usage: j.finalUsage(s.choices), SystemFingerprint: j.s.fingerprint(),
		})
	} else if err != nil && !s.opened && j.r.Context().Err() == nil {
		_ = s.open() // the error's event follows; its writing finds a dead client
	}
	s.ev.close(err)
}

func (j *job) wantsUsage() bool { return j.p.includeUsage || j.s.cfg.ForceUsage }

// open sends the chunks that carry the roles.
func (s *chatStream) open() error {
	s.opened = true
	for i := range s.choices {
		c := s.chunk(openChoice{Index: i, Delta: delta{Role: "assistant"}})
		c.firstChunk = &firstChunk{}
		if s.p.returnIDs {
			c.PromptTokenIDs = s.prompts[0]
		}
		if err := s.ev.send(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *chatStream) output(i int, o engine.Output) error {
	if !s.opened {
		if err := s.open(); err != nil {
			return err
		}
	}
	if o.Finish == "abort" {
		return engine.ErrDead
	}
	s.choices[i].add(o)
	oc := openChoice{Index: i, Delta: delta{Content: o.Text}, Logprobs: s.p.chatLogprobs(o.Tokens)}
	var ids []int
	if s.p.returnIDs {
		ids = o.Tokens
	}
	if o.Finish == "" {
		return s.ev.send(s.chunk(textChoice{oc, ids}))
	}
	oc.FinishReason = &o.Finish
	c := s.chunk(lastChoice{oc, o.StopReason, ids})
	if !s.wantsUsage() {
		c.SystemFingerprint = s.s.fingerprint()
	}
	return s.ev.send(c)
}

func (s *chatStream) chunk(choice any) chunk {
	c := chunk{ID: s.id, Object: "chat.completion.chunk", Created: s.created, Model: s.model, Choices: []any{choice}}
	if s.p.continuousUsage && s.wantsUsage() {
		c.Usage = s.runningUsage(s.choices)
	}
	return c
}

// runningUsage is the usage of a chunk, without the prompt's details.
func (j *job) runningUsage(choices []choice) *streamUsage {
	u := j.count(choices)
	out := &streamUsage{Prompt: u.Prompt, Total: u.Total, Completion: u.Completion}
	if j.endpoint == "chat" {
		null := json.RawMessage("null")
		out.CompletionDetails = &null
	}
	return out
}

// finalUsage is the usage of the closing chunk.
func (j *job) finalUsage(choices []choice) *streamUsage {
	u := j.count(choices)
	out := &streamUsage{Prompt: u.Prompt, Total: u.Total, Completion: u.Completion}
	if u.PromptDetails != nil {
		out.PromptDetails = &streamDetails{Cached: u.PromptDetails.Cached, Created: u.PromptDetails.Created}
	}
	return out
}
