package api

import (
	"errors"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// completionStream is the state of a streamed completion.
type completionStream struct {
	*job
	ev      *events
	choices []choice
}

func (j *job) streamCompletion(w http.ResponseWriter) {
	s := &completionStream{job: j, ev: j.openEvents(w), choices: make([]choice, len(j.streams))}
	err := j.outputs(j.r.Context(), s.output)
	if j.s.cfg.SilentLoadFailure && errors.Is(err, engine.ErrLoad) {
		err = nil // the stream just ends, without a token
	}
	if err == nil && j.wantsUsage() {
		c := s.chunk()
		c.Usage, c.SystemFingerprint = j.finalUsage(s.choices), j.s.fingerprint()
		err = s.ev.send(c)
	}
	s.ev.close(err)
}

func (s *completionStream) chunk(choices ...completionChunkChoice) completionChunk {
	if choices == nil {
		choices = []completionChunkChoice{}
	}
	return completionChunk{ID: s.id, Object: "text_completion", Created: s.created, Model: s.model, Choices: choices}
}

func (s *completionStream) output(i int, o engine.Output) error {
	if o.Finish == "abort" {
		return engine.ErrDead
	}
	first := len(s.choices[i].tokens) == 0
	s.choices[i].add(o)
	cc := completionChunkChoice{Index: i, Text: o.Text, StopReason: o.StopReason}
	prompt := s.prompts[i/s.p.n]
	var echoed []int
	if first && s.p.echo {
		cc.Text = tokens.DecodeAll(prompt) + o.Text
		echoed = prompt
	}
	cc.Logprobs = s.p.completionLogprobs(echoed, o.Tokens)
	if first && (s.p.echo || s.p.returnIDs) {
		cc.PromptTokenIDs = prompt
	}
	if s.p.returnIDs {
		cc.TokenIDs = o.Tokens
	}
	c := s.chunk()
	if o.Finish != "" {
		cc.FinishReason = &o.Finish
		if !s.wantsUsage() {
			c.SystemFingerprint = s.s.fingerprint()
		}
	}
	c.Choices = append(c.Choices, cc)
	if s.p.continuousUsage && s.wantsUsage() {
		c.Usage = s.runningUsage(s.choices)
	}
	return s.ev.send(c)
}
