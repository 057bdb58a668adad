//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/demo"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// chat is a chat completion's body with a prompt of its own, so that no
// instance has seen it.
func chat(prompt string, maxTokens int, extra string) string {
	q, _ := json.Marshal(prompt)
	return fmt.Sprintf(`{"model":"meta-llama/Llama-3.1-8B-Instruct","messages":[{"role":"user","content":%s}],"max_tokens":%d,"temperature":0%s}`, q, maxTokens, extra)
}

// longPrompt is about n tokens long and different for each seed.
func longPrompt(seed string, n int) string {
	return strings.Repeat("prefill reads "+seed+" and decode writes. ", max(1, n/8))
}

func completion(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before := map[string]demo.Transfers{}
	byID := map[string]*fleet.Instance{}
	for _, i := range s.instances(t) {
		byID[i.ID] = i
		tr, err := demo.ReadTransfers(ctx, i.URL)
		require.NoError(t, err)
		before[i.ID] = tr
	}
	body := chat(longPrompt("whole", 600), 40, "")
	a, err := demo.Ask(ctx, s.router, body)
	require.NoError(t, err)
	require.Equal(t, pd.PathDisaggregated, a.Path)
	require.Empty(t, a.Reason)
	require.Equal(t, pd.RolePrefill, byID[a.Prefill].Role)
	require.Equal(t, pd.RoleDecode, byID[a.Decode].Role)
	moved, err := demo.AwaitTransfer(ctx, byID[a.Decode].URL, before[a.Decode])
	require.NoError(t, err)
	require.Positive(t, moved.PromptTokens)
	t.Logf("%s; %+v", a.ServerTiming, moved)
	require.Equal(t, s.aggregated(t, ctx, body, a.Decode), a.Text)
}

// aggregated asks a decode that had no part in the answer to do all of it.
func (s *suite) aggregated(t *testing.T, ctx context.Context, body, except string) string {
	for _, i := range s.instances(t) {
		if i.Role == pd.RoleDecode && i.ID != except {
			local, err := demo.Ask(ctx, i.URL, body)
			require.NoError(t, err)
			require.Empty(t, local.Path, "asked directly, not through the router")
			return local.Text
		}
	}
	require.Fail(t, "no other decode")
	return ""
}

func streamedCompletion(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	prompt := longPrompt("streamed", 500)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.router+"/v1/chat/completions",
		strings.NewReader(chat(prompt, 40, `,"stream":true,"stream_options":{"include_usage":true}`)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer closeBody(resp.Body)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, string(pd.PathDisaggregated), resp.Header.Get(pd.HeaderPath))
	text, usage, done := readStream(t, bufio.NewScanner(resp.Body))
	require.True(t, done, "the stream ends with [DONE]")
	require.Equal(t, 40, usage)
	require.Equal(t, s.aggregated(t, ctx, chat(prompt, 40, ""), resp.Header.Get(pd.HeaderDecode)), text)
}

// readStream joins the deltas of a chat completion's SSE stream.
func readStream(t *testing.T, in *bufio.Scanner) (text string, completionTokens int, done bool) {
	var b strings.Builder
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var chunk struct {
			Error   any
			Choices []struct{ Delta struct{ Content string } }
			Usage   *struct {
				Completion int `json:"completion_tokens"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(data), &chunk))
		require.Nil(t, chunk.Error)
		for _, c := range chunk.Choices {
			b.WriteString(c.Delta.Content)
		}
		if chunk.Usage != nil {
			completionTokens = chunk.Usage.Completion
		}
	}
	require.NoError(t, in.Err())
	return b.String(), completionTokens, done
}
