package vllm

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// startRouter runs pd-router in front of fixed instances.
func startRouter(t *testing.T, command string, prefill, decode *server) *server {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	s := &server{
		name: "router", url: "http://" + addr, log: filepath.Join(t.TempDir(), "router.log"),
		cmd: exec.Command(command, "-listen", addr, "-prefill", prefill.url, "-decode", decode.url, "-local-below", "0"),
	}
	s.start(t)
	s.waitHealthy(t, 20*time.Second)
	require.Eventually(t, func() bool {
		resp, err := http.Get(s.url + "/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
	return s
}

// checkRouter sends requests through the router and asks vLLM's metrics and an
// aggregated run whether it kept the protocol.
func checkRouter(t *testing.T, prefill, decode *server) {
	router := startRouter(t, buildCommand(t, "cmd/pd-router"), prefill, decode)
	ask := func(t *testing.T, path string, more body) (routed, aggregated answer, moved float64) {
		t.Helper()
		s := newSession(prefill.url, router.url, t.Name(), newSalt())
		before := externalTokens(decode)
		routed = s.decode(path, s.defaultBody(path, more), "X-Request-Id", "r-"+strings.ReplaceAll(t.Name(), "/", "-"))
		moved = externalTokens(decode) - before
		direct := newSession(prefill.url, decode.url, s.name, s.salt)
		aggregated = direct.decode(path, direct.defaultBody(path, more).with(body{"cache_salt": s.salt, "kv_transfer_params": absent}))
		return routed, aggregated, moved
	}

	for name, more := range carried() {
		t.Run(name, func(t *testing.T) {
			routed, aggregated, moved := ask(t, pathOf(name), more)
			require.Equal(t, http.StatusOK, routed.Status, routed.Body)
			require.Equal(t, string(pd.PathDisaggregated), routed.Header.Get(pd.HeaderPath), "reason %q", routed.Header.Get(pd.HeaderReason))
			require.NotEmpty(t, routed.Header.Get(pd.HeaderPrefill))
			require.NotEmpty(t, routed.Header.Get(pd.HeaderDecode))
			require.NotEmpty(t, routed.Header.Get(pd.HeaderRequestID))
			require.Positive(t, moved, "prompt tokens that the decode took from the prefill")
			require.Equal(t, textOf(aggregated), textOf(routed), "the same text as without a handoff")
			if strings.Contains(name, "stream") {
				require.Equal(t, eventShapes(aggregated.Body), eventShapes(routed.Body), "the same events, and none of the router's own")
			}
		})
	}
	for name, c := range notCarried() {
		t.Run(name, func(t *testing.T) {
			routed, aggregated, moved := ask(t, pathOf(name), c.more)
			require.Equal(t, aggregated.Status, routed.Status, routed.Body)
			require.Equal(t, string(pd.PathLocal), routed.Header.Get(pd.HeaderPath))
			require.Equal(t, string(c.reason), routed.Header.Get(pd.HeaderReason))
			require.Zero(t, moved)
			require.Equal(t, textOf(aggregated), textOf(routed))
		})
	}
	t.Run("refused", func(t *testing.T) {
		for _, more := range []body{{"temperature": -1}, {"model": "gpt-4"}, {"n": 2}, {"max_tokens": 0}, {"messages": "x"}} {
			routed, aggregated, _ := ask(t, chatPath, more)
			require.Equal(t, aggregated.Status, routed.Status, "%v: %s", more, routed.Body)
			require.GreaterOrEqual(t, routed.Status, 400)
		}
		for _, more := range []body{{"temperature": -1}, {"background": true, "store": true}, {"previous_response_id": "resp_nope"}, {"max_output_tokens": "x"}} {
			routed, aggregated, _ := ask(t, responsesPath, more)
			require.Equal(t, aggregated.Status, routed.Status, "%v: %s", more, routed.Body)
			require.GreaterOrEqual(t, routed.Status, 400)
		}
		for _, more := range []body{{"temperature": -1}, {"tool_choice": body{"type": "any"}}, {"max_tokens": 0}, {"model": absent}} {
			routed, aggregated, _ := ask(t, messagesPath, more)
			require.Equal(t, aggregated.Status, routed.Status, "%v: %s", more, routed.Body)
			require.GreaterOrEqual(t, routed.Status, 400)
		}
	})
	require.True(t, prefill.alive() && decode.alive(), "nothing that came through the router may end a server")
}

func pathOf(name string) string {
	switch kind, _, _ := strings.Cut(name, " "); kind {
	case "completion":
		return completionPath
	case "response":
		return responsesPath
	case "message":
		return messagesPath
	}
	return chatPath
}

// carried are requests that two legs serve as one server would.
func carried() map[string]body {
	usage := body{"include_usage": true}
	return map[string]body{
		"chat":                    nil,
		"chat stream":             {"stream": true},
		"chat stream usage":       {"stream": true, "stream_options": usage, "max_completion_tokens": 9, "min_tokens": 3},
		"chat completion tokens":  {"max_tokens": absent, "max_completion_tokens": 9},
		"chat logprobs":           {"logprobs": true, "top_logprobs": 2},
		"chat min tokens":         {"min_tokens": 4},
		"chat null prompt logps":  {"prompt_logprobs": nil, "n": nil},
		"chat hostile params":     {"kv_transfer_params": askParams().with(body{"do_remote_prefill": true})},
		"chat stolen params":      {"kv_transfer_params": body{"do_remote_prefill": true}},
		"chat params text":        {"kv_transfer_params": "x"},
		"chat json":               {"response_format": body{"type": "json_object"}},
		"completion":              nil,
		"completion stream":       {"stream": true},
		"completion list of one":  {"prompt": []string{strings.Repeat("one fish ", 20)}},
		"completion tokens":       {"prompt": ramp(10, 80)},
		"completion stream usage": {"stream": true, "stream_options": usage},
		"response":                nil,
		"response stream":         {"stream": true},
		"response instructions":   {"instructions": "be brief", "store": true},
		"response own id":         {"request_id": "resp_mine"},
		"response hostile params": {"kv_transfer_params": askParams().with(body{"do_remote_prefill": true})},
		"message":                 nil,
		"message stream":          {"stream": true},
		"message system":          {"system": "be brief", "stop_sequences": []string{"no such text"}},
		"message hostile params":  {"kv_transfer_params": askParams().with(body{"do_remote_prefill": true})},
	}
}

// notCarried are requests that two legs would answer wrongly or at twice the price.
func notCarried() map[string]struct {
	more   body
	reason pd.Reason
} {
	type c = struct {
		more   body
		reason pd.Reason
	}
	return map[string]c{
		"chat n":                      {body{"n": 2, "temperature": 1, "seed": 3}, pd.ReasonMultipleChoices},
		"chat beam":                   {body{"use_beam_search": true, "n": 2}, pd.ReasonMultipleChoices},
		"completion list":             {body{"prompt": []string{strings.Repeat("one fish ", 20), strings.Repeat("two fish ", 20)}}, pd.ReasonListPrompt},
		"completion token lists":      {body{"prompt": [][]int{ramp(10, 40), ramp(50, 40)}}, pd.ReasonListPrompt},
		"chat prompt logprobs":        {body{"prompt_logprobs": 0}, pd.ReasonUnsupportedRequest},
		"chat echo":                   {body{"echo": true}, pd.ReasonUnsupportedRequest},
		"completion prompt logprobs":  {body{"prompt_logprobs": 1}, pd.ReasonUnsupportedRequest},
		"completion echo and logprob": {body{"echo": true, "logprobs": 1}, pd.ReasonUnsupportedRequest},
		"response truncation":         {body{"truncation": "auto"}, pd.ReasonUnsupportedRequest},
	}
}
