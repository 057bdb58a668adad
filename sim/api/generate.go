package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/fault"
)

// job is one generation request on its way through the server.
type job struct {
	s        *Server
	r        *http.Request
	p        *sampling
	endpoint string // "chat", "completions", "responses", "messages"
	id       string // of the answer
	model    string
	created  int64
	prompts  [][]int
	streams  []*engine.Stream // n for each prompt, in order
	cut      int              // events before the stream is cut; 0: never
	echoed   *echoed          // of "responses"
}

// choice is what a sequence has yielded.
type choice struct {
	text       string
	tokens     []int
	finish     string
	stopReason any
	last       engine.Output
}

// deliver runs a job that was accepted and writes its answer, as events or whole.
func (s *Server) deliver(w http.ResponseWriter, j *job, stream func(http.ResponseWriter), whole func([]choice) any) {
	if !s.start(w, j) {
		return
	}
	if j.p.stream {
		stream(w)
		return
	}
	choices, err := j.collect()
	if err != nil {
		j.answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, whole(choices))
}

// start runs the faults that strike the request and submits its sequences.
// False when the request has been answered already.
func (s *Server) start(w http.ResponseWriter, j *job) bool {
	for _, f := range s.cfg.Faults.Next(j.endpoint, j.p.leg()) {
		if !j.strike(w, f) {
			return false
		}
	}
	j.created = time.Now().Unix()
	for i, prompt := range j.prompts {
		for _, req := range j.p.requests(prompt, j.base(i), func() string { return s.cfg.NewID(8) }) {
			req.Adapter = s.adapter(j.p.model)
			j.streams = append(j.streams, s.cfg.Engine.Submit(req))
		}
	}
	return true
}

// base is the engine's id of a prompt, without the suffix.
func (j *job) base(i int) string {
	switch j.endpoint {
	case "completions":
		return fmt.Sprintf("%s-%d", j.id, i)
	case "responses":
		return fmt.Sprintf("%s_%d", j.id, i)
	}
	return j.id
}

// strike applies a fault; false when it has ended the request.
func (j *job) strike(w http.ResponseWriter, f fault.Fault) bool {
	ctx := j.r.Context()
	switch f.Kind {
	case fault.Die:
		j.s.cfg.Exit()
		<-ctx.Done()
		return false
	case fault.Engine:
		j.s.cfg.KillEngine()
	case fault.Hang:
		<-ctx.Done()
		return false
	case fault.Slow:
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	case fault.Cut:
		j.cut = f.Events
	case fault.Status:
		e := &failure{Message: http.StatusText(f.Status), Type: "InternalServerError", Code: f.Status}
		if f.Status < 500 {
			e.Type = "BadRequestError"
		}
		writeFailure(w, e)
		return false
	}
	return true
}

// outputs hands every output to yield until all sequences have ended, taking
// turns between them. It returns the first error; the others are aborted then.
func (j *job) outputs(ctx context.Context, yield func(i int, o engine.Output) error) error {
	open := len(j.streams)
	ended := make([]bool, len(j.streams))
	for open > 0 {
		for i, st := range j.streams {
			if ended[i] {
				continue
			}
			o, err := st.Next(ctx)
			if err == nil && o.Err != nil {
				err = o.Err
			}
			if err == nil {
				err = yield(i, o)
			}
			if err != nil {
				j.abort()
				return err
			}
			if o.Done() {
				ended[i] = true
				open--
			}
		}
	}
	return nil
}

func (j *job) abort() {
	for _, st := range j.streams {
		st.Abort()
	}
}

// collect waits for whole answers.
func (j *job) collect() ([]choice, error) {
	out := make([]choice, len(j.streams))
	err := j.outputs(j.r.Context(), func(i int, o engine.Output) error {
		c := &out[i]
		c.add(o)
		if o.Finish == "abort" {
			return engine.ErrDead
		}
		return nil
	})
	return out, err
}

func (c *choice) add(o engine.Output) {
	c.text += o.Text
	c.tokens = append(c.tokens, o.Tokens...)
	c.last = o
	if o.Finish != "" {
		c.finish, c.stopReason = o.Finish, o.StopReason
	}
}

// usage is the token counts of an answer.
type usage struct {
	Prompt            int            `json:"prompt_tokens"`
	Total             int            `json:"total_tokens"`
	Completion        int            `json:"completion_tokens"`
	PromptDetails     *promptDetails `json:"prompt_tokens_details"`
	CompletionDetails *struct{}      `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached     int  `json:"cached_tokens"`
	Created    *int `json:"created_cache_tokens"`
	Multimodal *int `json:"multimodal_tokens"`
}

// count adds up the usage of all choices.
func (j *job) count(choices []choice) usage {
	var u usage
	for _, p := range j.prompts {
		u.Prompt += len(p)
	}
	for _, c := range choices {
		u.Completion += len(c.tokens)
	}
	u.Total = u.Prompt + u.Completion
	if j.s.cfg.PromptTokensDetails && len(choices) > 0 {
		last := choices[len(choices)-1].last
		u.PromptDetails = &promptDetails{Cached: last.Cached}
		if j.endpoint == "chat" {
			u.PromptDetails.Created = &last.Created
		}
	}
	return u
}

// params is the kv_transfer_params of the answer: one prompt's, and of its
// choices the last one's.
func (j *job) params(choices []choice) *engine.TransferParams {
	if len(choices) == 0 {
		return nil
	}
	return choices[j.p.n-1].last.Params
}

// orca adds the load header that a request may ask for.
func (j *job) orca(w http.ResponseWriter) {
	m := j.s.cfg.Metrics
	waiting, kv := pyFloat(m.Value(m.Waiting)), pyFloat(m.Value(m.KVUsage))
	switch format := j.r.Header.Get("Endpoint-Load-Metrics-Format"); format {
	case "TEXT", "text":
		w.Header().Set("Endpoint-Load-Metrics", "TEXT named_metrics.num_requests_waiting="+waiting+", named_metrics.kv_cache_usage_perc="+kv)
	case "JSON", "json":
		w.Header().Set("Endpoint-Load-Metrics", `JSON {"named_metrics": {"num_requests_waiting": `+waiting+`, "kv_cache_usage_perc": `+kv+`}}`)
	}
}

// answerError answers a request whose sequences failed, unless its client has
// gone.
func (j *job) answerError(w http.ResponseWriter, err error) {
	if j.r.Context().Err() != nil {
		return
	}
	if j.endpoint == "messages" {
		writeMessageFailure(w, asFailure(err))
		return
	}
	writeFailure(w, asFailure(err))
}

// refuse answers a request that never reached the engine, and frees what its
// prefill keeps for it.
func (s *Server) refuse(w http.ResponseWriter, p *sampling, f *failure) {
	if p != nil && p.kv != nil {
		s.cfg.Engine.Reject(p.kv)
	}
	writeFailure(w, f)
}
