package api

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
)

// sampling is the part of a request that all generation endpoints share.
type sampling struct {
	model                    string
	stream                   bool
	includeUsage             bool
	continuousUsage          bool
	n                        int
	maxTokens                int // 0: as many as fit
	minTokens                int
	stop                     []string
	stopTokens               []int
	includeStop, ignoreEOS   bool
	temperature              float64
	seed                     uint64
	cacheSalt                string
	returnIDs                bool
	logprobs                 int // -1: none; else the number of alternatives
	kv                       map[string]any
	prompts                  [][]int
	trimFirst                bool
	hasStreamOptions, hasMax bool
}

// readSampling reads the shared fields. maxName is the field that limits the
// answer, in order of precedence.
func readSampling(b *body, maxNames ...string) *sampling {
	s := &sampling{
		model: b.text("model"), stream: b.truth("stream"), n: b.whole("n", 1), minTokens: b.whole("min_tokens", 0),
		stop: b.strings("stop"), stopTokens: b.wholes("stop_token_ids"), includeStop: b.truth("include_stop_str_in_output"),
		ignoreEOS: b.truth("ignore_eos"), temperature: b.number("temperature", 1), cacheSalt: b.text("cache_salt"),
		seed: uint64(b.whole("seed", 0)), returnIDs: b.truth("return_token_ids"), logprobs: -1, kv: b.dict("kv_transfer_params"),
	}
	for _, name := range maxNames {
		v := b.whole(name, 0)
		if b.has(name) && !s.hasMax {
			s.hasMax, s.maxTokens = true, v
		}
	}
	options := b.dict("stream_options")
	s.hasStreamOptions = options != nil
	o := &body{m: options}
	s.includeUsage, s.continuousUsage = o.truth("include_usage"), o.truth("continuous_usage_stats")
	b.errs = append(b.errs, o.errs...)
	return s
}

// maxChoices is the largest n, vLLM's default.
const maxChoices = 16384

// checkEarly is what vLLM checks while it reads the request.
func (s *sampling) checkEarly() *failure {
	if s.hasStreamOptions && !s.stream {
		return withParam("stream_options", "", "Stream options can only be defined when `stream=True`.")
	}
	return nil
}

// check is what vLLM checks of the sampling parameters, in its order.
func (s *sampling) check(b *body) *failure {
	plain := func(format string, args ...any) *failure { return badRequest("", fmt.Sprintf(format, args...)) }
	within := func(name string, lo, hi, otherwise float64) bool {
		v := b.number(name, otherwise)
		return v >= lo && v <= hi
	}
	switch {
	case s.n < 1:
		return plain("n must be at least 1, got %d.", s.n)
	case s.n > maxChoices:
		return plain("n must be at most %d, got %d. Set VLLM_MAX_N_SEQUENCES to raise the limit.", maxChoices, s.n)
	case !within("presence_penalty", -2, 2, 0):
		return plain("presence_penalty must be in [-2, 2], got %s.", pyFloat(b.number("presence_penalty", 0)))
	case !within("frequency_penalty", -2, 2, 0):
		return plain("frequency_penalty must be in [-2, 2], got %s.", pyFloat(b.number("frequency_penalty", 0)))
	case b.number("repetition_penalty", 1) <= 0:
		return plain("repetition_penalty must be greater than zero, got %s.", pyFloat(b.number("repetition_penalty", 1)))
	case s.temperature < 0:
		v := pyFloat(s.temperature)
		return withParam("temperature", v, "temperature must be non-negative, got "+v+".")
	case b.number("top_p", 1) <= 0 || b.number("top_p", 1) > 1:
		v := pyFloat(b.number("top_p", 1))
		return withParam("top_p", v, "top_p must be in (0, 1], got "+v+".")
	case b.whole("top_k", 0) < -1:
		return plain("top_k must be 0 (disable), or at least 1, got %d.", b.whole("top_k", 0))
	case !within("min_p", 0, 1, 0):
		return plain("min_p must be in [0, 1], got %s.", pyFloat(b.number("min_p", 0)))
	case s.hasMax && s.maxTokens < 1:
		v := strconv.Itoa(s.maxTokens)
		return withParam("max_tokens", v, "max_tokens must be at least 1, got "+v+".")
	case s.minTokens < 0:
		return plain("min_tokens must be greater than or equal to 0, got %d.", s.minTokens)
	case s.maxTokens > 0 && s.minTokens > s.maxTokens:
		return plain("min_tokens must be less than or equal to max_tokens=%d, got %d.", s.maxTokens, s.minTokens)
	case contains(s.stop, ""):
		return plain("stop cannot contain an empty string.")
	case s.temperature < 1e-5 && s.n > 1:
		return plain("n must be 1 when using greedy sampling, got %d.", s.n)
	}
	return nil
}

// withParam is a refusal that names its parameter and value, as some do.
func withParam(param, value, message string) *failure {
	suffix := " (parameter=" + param
	if value != "" {
		suffix += ", value=" + value
	}
	return badRequest(param, message+suffix+")")
}

// fit checks the prompt against the context and settles the answer's length.
// most is how long an answer is when the request does not say.
func (s *sampling) fit(prompt []int, maxModelLen, most int) *failure {
	n := len(prompt)
	if n > maxModelLen {
		return withParam("input_tokens", strconv.Itoa(maxModelLen+1), fmt.Sprintf("This model's maximum context length is %d tokens. "+
			"However, your prompt contains at least %d input tokens, which exceeds this limit even without any output tokens. "+
			"Please reduce the length of the input prompt.", maxModelLen, maxModelLen+1))
	}
	if s.maxTokens > 0 && n+s.maxTokens > maxModelLen || n == maxModelLen {
		return withParam("input_tokens", strconv.Itoa(n), fmt.Sprintf("This model's maximum context length is %d tokens. "+
			"However, you requested %d output tokens and your prompt contains %d input tokens, for a total of %d tokens. "+
			"Please reduce the length of the input prompt or the number of requested output tokens.",
			maxModelLen, max(s.maxTokens, 1), n, n+max(s.maxTokens, 1)))
	}
	if !s.hasMax {
		s.maxTokens = min(most, maxModelLen-n)
	}
	return nil
}

// requests is the sequences of one prompt.
func (s *sampling) requests(prompt []int, base string, suffix func() string) []engine.Request {
	out := make([]engine.Request, s.n)
	for i := range out {
		id := base + "-" + suffix()
		if s.n > 1 {
			id = strconv.Itoa(i) + "_" + id
		}
		out[i] = engine.Request{
			ID: id, Prompt: prompt, MaxTokens: s.maxTokens, MinTokens: s.minTokens, Stop: s.stop, StopTokens: s.stopTokens,
			IncludeStop: s.includeStop, IgnoreEOS: s.ignoreEOS, TrimFirst: s.trimFirst, Salt: s.seed*1_000_003 + uint64(i),
			CacheSalt: s.cacheSalt, Params: s.kv,
		}
	}
	return out
}

// leg says which part of a handoff the request is.
func (s *sampling) leg() string {
	switch {
	case s.kv["do_remote_prefill"] == true:
		return "decode"
	case s.kv["do_remote_decode"] == true:
		return "prefill"
	}
	return "local"
}

func pyFloat(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
