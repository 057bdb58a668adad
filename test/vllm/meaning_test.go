package vllm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// checkMeaning asks for what two legs do to the text, and to the work, of
// answers that look alike. Real vLLM and the simulator must both pass.
func checkMeaning(t *testing.T, prefill, decode *server) {
	pair := func(name string) *session { return newSession(prefill.url, decode.url, name, newSalt()) }
	local := func(s *session, path string, b body) answer {
		return s.decode(path, b.with(body{"cache_salt": newSalt()}))
	}

	for name, path := range map[string]string{"chat": chatPath, "completion": completionPath} {
		t.Run("the text of a handed-over "+name+" is the local one", func(t *testing.T) {
			s := pair(name)
			b := s.defaultBody(path, body{"max_tokens": 24})
			_, second := s.handoff(path, b, nil)
			require.NotEmpty(t, textOf(second), second.Body)
			require.Equal(t, textOf(local(s, path, b)), textOf(second))
		})
	}
	t.Run("the decode computes none of a handed-over prompt", func(t *testing.T) {
		require.Positive(t, handedOver(t, pair("plain"), decode, chatPath, nil))
		require.Positive(t, handedOver(t, pair("echo"), decode, completionPath, body{"echo": true}))
	})
	t.Run("the decode computes all of a prompt whose log probabilities are wanted", func(t *testing.T) {
		require.Zero(t, handedOver(t, pair("prompt logprobs"), decode, chatPath, body{"prompt_logprobs": 0}))
		require.Zero(t, handedOver(t, pair("chat echo"), decode, chatPath, body{"echo": true}))
		require.Zero(t, handedOver(t, pair("echo logprobs"), decode, completionPath, body{"echo": true, "logprobs": 1}))
	})
	t.Run("of two prompts both get the first one's answer", func(t *testing.T) {
		s := pair("list")
		one, two := "one "+strings.Repeat("fish ", 60), "two "+strings.Repeat("fish ", 60)
		b := s.completion(body{"prompt": []string{one, two}, "max_tokens": 16})
		_, second := s.handoff(completionPath, b, nil)
		texts, alone := choiceTexts(t, second), choiceTexts(t, local(s, completionPath, b))
		require.NotEqual(t, alone[0], alone[1])
		require.Equal(t, []string{alone[0], alone[0]}, texts)
	})
	t.Run("another prompt with the parameters gets the first prompt's answer", func(t *testing.T) {
		s := pair("other prompt")
		ask := func(word string) body {
			return s.chat(body{"max_tokens": 16, "messages": []body{{"role": "user", "content": word + strings.Repeat(" fish", 60)}}})
		}
		first := s.prefill(chatPath, leg1(ask("one")))
		second := s.decode(chatPath, ask("two").with(body{"kv_transfer_params": first.params(nil), "cache_salt": newSalt()}))
		require.Equal(t, http.StatusOK, second.Status, second.Body)
		require.Equal(t, textOf(local(s, chatPath, ask("one"))), textOf(second))
		require.NotEqual(t, textOf(local(s, chatPath, ask("two"))), textOf(second))
	})
}

// checkLoad asks whether the metrics that the autoscaler and the router live on say
// what happens: a full server queues, and clients that leave end their requests.
func checkLoad(t *testing.T, sv *server) {
	aborted := metric(sv.url, "vllm:request_success_total", `finished_reason="abort"`)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			s := newSession(sv.url, sv.url, "load", newSalt())
			s.ctx = ctx
			s.decode(chatPath, s.chat(body{"max_tokens": 1500, "ignore_eos": true, "stream": i%2 == 0}))
		})
	}
	require.Eventually(t, func() bool {
		return metric(sv.url, "vllm:num_requests_running") == 8 && metric(sv.url, "vllm:num_requests_waiting") == 4 &&
			metric(sv.url, "vllm:num_requests_waiting_by_reason", `reason="capacity"`) == 4
	}, 20*time.Second, 20*time.Millisecond, "--max-num-seqs 8 of 12 requests run")
	require.Positive(t, metric(sv.url, "vllm:kv_cache_usage_perc"))
	leave()
	clients.Wait()
	require.Eventually(t, func() bool {
		return metric(sv.url, "vllm:num_requests_running") == 0 && metric(sv.url, "vllm:num_requests_waiting") == 0 &&
			metric(sv.url, "vllm:kv_cache_usage_perc") == 0
	}, 20*time.Second, 50*time.Millisecond, "nobody waits for the answers")
	require.InDelta(t, aborted, metric(sv.url, "vllm:request_success_total", `finished_reason="abort"`), 0.5, "vLLM does not count them")
}

// handedOver is how many prompt tokens the decode took from the prefill.
func handedOver(t *testing.T, s *session, decode *server, path string, more body) float64 {
	t.Helper()
	first := s.prefill(path, leg1(s.defaultBody(path, more)))
	before := externalTokens(decode)
	second := s.decode(path, s.defaultBody(path, more).with(body{"kv_transfer_params": first.params(nil)}))
	require.Equal(t, http.StatusOK, second.Status, second.Body)
	return externalTokens(decode) - before
}

func externalTokens(decode *server) float64 {
	return metric(decode.url, "vllm:prompt_tokens_by_source_total", `source="external_kv_transfer"`)
}

func choiceTexts(t *testing.T, a answer) []string {
	t.Helper()
	var got struct{ Choices []struct{ Text string } }
	require.NoError(t, json.Unmarshal([]byte(a.Body), &got), a.Body)
	var out []string
	for _, c := range got.Choices {
		out = append(out, c.Text)
	}
	require.Len(t, out, 2, a.Body)
	return out
}

// textOf is all text of an answer, streamed or not.
func textOf(a answer) string {
	var out strings.Builder
	chunks := []string{a.Body}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
		chunks = strings.Split(strings.ReplaceAll(a.Body, "data: ", ""), "\n\n")
	}
	for _, c := range chunks {
		if strings.HasPrefix(c, "event: ") {
			_, c, _ = strings.Cut(c, "\n")
		}
		top, _ := parseJSON(c).(map[string]any)
		out.WriteString(namedText(top))
		choices, _ := top["choices"].([]any)
		for _, choice := range choices {
			ch, _ := choice.(map[string]any)
			for _, in := range []string{"delta", "message"} {
				part, _ := ch[in].(map[string]any)
				s, _ := part["content"].(string)
				out.WriteString(s)
			}
			s, _ := ch["text"].(string)
			out.WriteString(s)
		}
	}
	return out.String()
}

// namedText is what a response or a message says, or one of their events adds.
func namedText(top map[string]any) string {
	var out strings.Builder
	parts, _ := top["content"].([]any)
	items, _ := top["output"].([]any)
	for _, item := range items {
		i, _ := item.(map[string]any)
		content, _ := i["content"].([]any)
		parts = append(parts, content...)
	}
	parts = append(parts, top["delta"])
	for _, p := range parts {
		part, _ := p.(map[string]any)
		s, _ := part["text"].(string)
		out.WriteString(s)
	}
	s, _ := top["delta"].(string)
	out.WriteString(s)
	return out.String()
}
