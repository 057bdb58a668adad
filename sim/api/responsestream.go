package api

import (
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
)

// responseEvent is one event of a streamed response. Each type has fields of
// its own; those that it lacks are nil.
type responseEvent struct {
	Response     *responsesResponse `json:"response,omitempty"`
	ContentIndex *int               `json:"content_index,omitempty"`
	Delta        *string            `json:"delta,omitempty"`
	Item         *outputItem        `json:"item,omitempty"`
	ItemID       string             `json:"item_id,omitempty"`
	Logprobs     *[]any             `json:"logprobs,omitempty"`
	OutputIndex  *int               `json:"output_index,omitempty"`
	Part         *outputText        `json:"part,omitempty"`
	Sequence     int                `json:"sequence_number"`
	Text         *string            `json:"text,omitempty"`
	Type         string             `json:"type"`
}

// responseStream is the state of a streamed response.
type responseStream struct {
	*job
	ev     *events
	itemID string
	seq    int
	answer choice
	opened bool
}

func (j *job) streamResponse(w http.ResponseWriter) {
	s := &responseStream{job: j, ev: j.openEvents(w), itemID: "msg_" + j.s.cfg.NewID(16)}
	opening := j.opening()
	err := s.send(responseEvent{Type: "response.created", Response: &opening})
	if err == nil {
		err = s.send(responseEvent{Type: "response.in_progress", Response: &opening})
	}
	if err == nil {
		err = j.outputs(j.r.Context(), s.output)
	}
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		j.abort()
		s.ev.closeNamed(err, nil) // vLLM fails to word its error as an event
	}
}

func (s *responseStream) send(e responseEvent) error {
	e.Sequence = s.seq
	s.seq++
	return s.ev.named(e.Type, e)
}

func (s *responseStream) output(_ int, o engine.Output) error {
	if o.Finish == "abort" {
		return engine.ErrDead
	}
	zero := 0
	if !s.opened {
		s.opened = true
		it := item(s.itemID, choice{})
		it.Status = "in_progress"
		part := textPart("")
		part.Logprobs = []any{}
		if err := s.send(responseEvent{Type: "response.output_item.added", Item: &it, OutputIndex: &zero}); err != nil {
			return err
		}
		if err := s.send(responseEvent{Type: "response.content_part.added", ContentIndex: &zero, ItemID: s.itemID, OutputIndex: &zero, Part: &part}); err != nil {
			return err
		}
	}
	s.answer.add(o)
	return s.send(responseEvent{
		Type: "response.output_text.delta", ContentIndex: &zero, Delta: &o.Text, ItemID: s.itemID, Logprobs: &[]any{}, OutputIndex: &zero,
	})
}

func (s *responseStream) finish() error {
	zero, part, it := 0, textPart(s.answer.text), item(s.itemID, s.answer)
	whole := s.responsesAnswer(s.answer, s.itemID)
	for _, e := range []responseEvent{
		{Type: "response.output_text.done", ContentIndex: &zero, ItemID: s.itemID, Logprobs: &[]any{}, OutputIndex: &zero, Text: &s.answer.text},
		{Type: "response.content_part.done", ContentIndex: &zero, ItemID: s.itemID, OutputIndex: &zero, Part: &part},
		{Type: "response.output_item.done", Item: &it, OutputIndex: &zero},
		{Type: "response.completed", Response: &whole},
	} {
		if err := s.send(e); err != nil {
			return err
		}
	}
	return nil
}
