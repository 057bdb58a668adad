package engine

import (
	"slices"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// An answer that nothing else ends is naturalMin to naturalMin+naturalSpread
// tokens long, by its prompt.
const (
	naturalMin    = 256
	naturalSpread = 256
)

// apply is the end of a pass: positions are computed, and each sequence whose
// tokens are all computed gets its next one.
func (e *Engine) apply(p *pass) {
	m := e.cfg.Metrics
	generated := 0
	for i, s := range p.seqs {
		if s.phase == finished {
			continue
		}
		s.fold(e.pool, p.upTo[i]-p.work[i].Tokens)
		s.forward(e.pool, p.upTo[i])
		if s.aborted {
			e.finish(s, Output{Finish: "abort"})
			continue
		}
		if p.upTo[i] == len(s.tokens) {
			generated++
			e.next(s)
		}
	}
	m.Add(m.GenerationTokens, float64(generated))
	m.Observe(m.Iteration, float64(p.tokens))
}

// next draws a sequence's next token and sends it.
func (e *Engine) next(s *seq) {
	e.timeToken(s)
	token := e.draw(s)
	s.tokens = append(s.tokens, token)
	n := s.generated()
	mayStop := n > s.req.MinTokens
	out := Output{Tokens: []int{token}}
	switch {
	case token == tokens.End:
		out.Text, out.Finish = s.text.rest(), "stop"
	case mayStop && slices.Contains(s.req.StopTokens, token):
		out.Text, out.Finish, out.StopReason = s.text.rest(), "stop", token
	default:
		var stop string
		if out.Text, stop = s.text.add(token, &s.req, mayStop); stop != "" {
			out.Finish, out.StopReason = "stop", stop
		} else if n >= s.req.MaxTokens {
			out.Text += s.text.rest()
			out.Finish = "length"
		}
	}
	if out.Finish == "" {
		out.Cached, out.Created = s.cached, s.created
		s.out.push(out)
		return
	}
	e.finish(s, out)
}

// draw is the next token: a word, or the end when the answer has reached its
// natural length.
func (e *Engine) draw(s *seq) int {
	n := s.generated()
	if s.req.Forced != nil {
		return append(s.req.Forced, tokens.End)[min(n, len(s.req.Forced))]
	}
	if n == 0 {
		s.natural = naturalMin + kv.Draw(s.state, s.req.Salt+1, naturalSpread)
	}
	if !s.req.IgnoreEOS && n+1 >= max(s.natural, s.req.MinTokens+1) {
		return tokens.End
	}
	return tokens.Word(kv.Draw(s.state, s.req.Salt, tokens.Words()))
}

// timeToken measures the time to the first token or since the last one, and
// with the first counts the prompt.
func (e *Engine) timeToken(s *seq) {
	m, now := e.cfg.Metrics, time.Now()
	if s.generated() > 0 {
		m.Observe(m.ITL, now.Sub(s.last).Seconds())
		s.last = now
		return
	}
	s.first, s.last = now, now
	m.Observe(m.TTFT, now.Sub(s.arrived).Seconds())
	n := len(s.req.Prompt)
	m.Add(m.PromptTokens, float64(n))
	m.Add(m.BySource, float64(s.external), "source", "external_kv_transfer")
	m.Add(m.BySource, float64(s.cached), "source", "local_cache_hit")
	m.Add(m.BySource, float64(n-s.external-s.cached), "source", "local_compute")
	m.Add(m.Cached, float64(s.external+s.cached))
}

// finish ends a sequence with a last output and frees or leases its blocks.
func (e *Engine) finish(s *seq, out Output) {
	if s.phase == finished {
		return
	}
	if s.phase == fetching && s.cancel != nil {
		s.cancel()
	}
	e.waiting, e.deferred, e.running = remove(e.waiting, s), remove(e.deferred, s), remove(e.running, s)
	s.phase = finished
	out.Cached, out.Created = s.cached, s.created
	if s.verdict == keep && (out.Finish == "length" || out.Finish == "stop") {
		out.Params = e.leaseOut(s)
	} else {
		e.pool.Release(s.blocks)
	}
	s.blocks = nil
	e.measure(s, out)
	s.out.push(out)
}

// measure records a finished sequence. One whose client has left is not
// counted anywhere: vLLM forgets it, and so its "abort" counter stays at zero.
func (e *Engine) measure(s *seq, out Output) {
	if out.Finish == "abort" {
		return
	}
	m, now := e.cfg.Metrics, time.Now()
	reason := out.Finish
	if out.Err != nil {
		reason = "error"
	}
	m.Add(m.Success, 1, "finished_reason", reason)
	m.Observe(m.E2E, now.Sub(s.arrived).Seconds())
	m.Observe(m.ReqPrompt, float64(len(s.req.Prompt)))
	m.Observe(m.ReqGeneration, float64(s.generated()))
	m.Observe(m.ReqMaxGeneration, float64(s.generated()))
	m.Observe(m.ParamsN, 1)
	m.Observe(m.ParamsMax, float64(s.req.MaxTokens))
	m.Observe(m.ReqPreemptions, float64(s.preemptions))
	m.Observe(m.PrefillComputed, float64(len(s.req.Prompt)-s.cached))
	if s.first.IsZero() {
		return
	}
	m.Observe(m.QueueTime, s.scheduled.Sub(s.arrived).Seconds())
	m.Observe(m.PrefillTime, s.first.Sub(s.scheduled).Seconds())
	m.Observe(m.InferenceTime, now.Sub(s.scheduled).Seconds())
	m.Observe(m.DecodeTime, now.Sub(s.first).Seconds())
	if n := s.generated(); n > 1 {
		m.Observe(m.TPOT, now.Sub(s.first).Seconds()/float64(n-1))
	}
}
