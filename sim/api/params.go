package api

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
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
	promptLogprobs           int // the same for the prompt
	tokensAsIDs              bool
	echo                     bool
	beam                     bool
	truncate                 int // keep the last so many tokens of the prompt; 0: all
	forced                   []int
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
		ignoreEOS: b.truth("ignore_eos"), temperature: b.number("temperature", 1), cacheSalt: content(b.m["cache_salt"]),
		seed: uint64(b.whole("seed", 0)), returnIDs: b.truth("return_token_ids"), logprobs: -1, kv: b.dict("kv_transfer_params"),
		promptLogprobs: b.whole("prompt_logprobs", -1), tokensAsIDs: b.truth("return_tokens_as_token_ids"), echo: b.truth("echo"),
		beam: b.truth("use_beam_search"), truncate: b.whole("truncate_prompt_tokens", 0),
	}
	if s.truncate < -1 {
		b.fail("greater_than_equal", "truncate_prompt_tokens", "Input should be greater than or equal to -1", s.truncate)
	}
	s.readFormat(b)
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
		return tooLong(prompt, maxModelLen)
	}
	if s.maxTokens > maxModelLen {
		return withParam("max_tokens", strconv.Itoa(s.maxTokens), fmt.Sprintf("max_tokens=%d cannot be greater than max_model_len=%d. "+
			"Please request fewer output tokens.", s.maxTokens, maxModelLen))
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

// tooLong is the failure for a prompt that does not fit.
func tooLong(prompt []int, maxModelLen int) *failure {
	const advice = "Please reduce the length of the input prompt."
	most := charsPerToken * maxModelLen
	if chars := characters(prompt); chars > most {
		return withParam("input_text", strconv.Itoa(chars), fmt.Sprintf("This model's maximum context length is %d tokens. However, your prompt "+
			"contains %d characters (more than %d characters, which is the upper bound for %d input tokens). %s", maxModelLen, chars, most, maxModelLen, advice))
	}
	return withParam("input_tokens", strconv.Itoa(maxModelLen+1), fmt.Sprintf("This model's maximum context length is %d tokens. However, your prompt "+
		"contains at least %d input tokens, which exceeds this limit even without any output tokens. %s", maxModelLen, maxModelLen+1, advice))
}

// charsPerToken is the length of the longest token, by which vLLM refuses a
// text before it makes tokens of it.
const charsPerToken = 12

func characters(prompt []int) int {
	n := 0
	for _, id := range prompt {
		n += utf8.RuneCountInString(tokens.Decode(id))
	}
	return n
}

// readFormat reads response_format. A grammar for JSON leaves this model one
// answer, the shortest.
func (s *sampling) readFormat(b *body) {
	f := b.dict("response_format")
	switch f["type"] {
	case nil, "text", "structural_tag":
	case "json_object", "json_schema":
		s.forced = tokens.Encode("{")
		s.forced = append(s.forced, tokens.Encode("}")...)
	default:
		b.fail("literal_error", "response_format.type", "Input should be 'text', 'json_object' or 'json_schema'", f["type"])
	}
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
			CacheSalt: s.cacheSalt, Params: s.kv, Forced: s.forced, SkipPrefix: s.promptLogprobs >= 0,
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
