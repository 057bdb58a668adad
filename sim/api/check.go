package api

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// maxChoices is the largest n, vLLM's default.
const maxChoices = 16384

// checkEarly is what vLLM checks while it reads the request.
func (s *sampling) checkEarly(b *body) *failure {
	if salt, ok := b.m["cache_salt"]; ok && salt != nil && s.cacheSalt == "" {
		return withParam("cache_salt", "", "Parameter 'cache_salt' must be a non-empty string if provided.")
	}
	if s.stream && (s.promptLogprobs > 0 || b.has("prompt_logprobs") && s.promptLogprobs == -1) {
		return withParam("prompt_logprobs", "", "`prompt_logprobs` are not available when `stream=True`.")
	}
	if f, ok := b.m["response_format"].(map[string]any); ok && f["type"] == "json_schema" && f["json_schema"] == nil {
		return withParam("response_format", "", "When response_format type is 'json_schema', the 'json_schema' field must be provided.")
	}
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
	case math.IsNaN(s.temperature) || math.IsInf(s.temperature, 0):
		v := strings.ToLower(fmt.Sprint(s.temperature))
		return withParam("temperature", v, "temperature must be a finite number, got "+v+".")
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
	case b.m["allowed_token_ids"] != nil && len(b.list("allowed_token_ids")) == 0:
		return withParam("allowed_token_ids", "[]", "allowed_token_ids is not None and empty!")
	case s.logprobs > maxLogprobs:
		return withParam("logprobs", strconv.Itoa(s.logprobs), fmt.Sprintf("Requested sample logprobs of %d, which is greater than max allowed: %d", s.logprobs, maxLogprobs))
	case s.promptLogprobs > maxLogprobs:
		return withParam("prompt_logprobs", strconv.Itoa(s.promptLogprobs), fmt.Sprintf("Requested prompt logprobs of %d, which is greater than max allowed: %d", s.promptLogprobs, maxLogprobs))
	case s.biasError(b) != nil:
		return s.biasError(b)
	case s.temperature < 1e-5 && s.n > 1 && !s.beam:
		return plain("n must be 1 when using greedy sampling, got %d.", s.n)
	}
	return nil
}

// biasError is what is wrong with logit_bias.
func (s *sampling) biasError(b *body) *failure {
	bias, _ := b.m["logit_bias"].(map[string]any)
	var odd, unknown []string
	for key := range bias {
		id, err := strconv.Atoi(key)
		switch {
		case err != nil:
			odd = append(odd, key)
		case !tokens.Valid(id):
			unknown = append(unknown, key)
		}
	}
	slices.Sort(odd)
	slices.Sort(unknown)
	switch {
	case len(odd) > 0:
		v := "['" + strings.Join(odd, "', '") + "']"
		return withParam("logit_bias", v, "logit_bias contains key(s) that cannot be converted to integer token IDs: "+v)
	case len(unknown) > 0:
		v := "[" + strings.Join(unknown, ", ") + "]"
		return withParam("logit_bias", v, "token_id(s) "+v+" in logit_bias contain out-of-vocab token ids.")
	}
	return nil
}
