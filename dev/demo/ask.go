package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// Answer is one chat completion and how it was served.
type Answer struct {
	Text             string
	Path             pd.Path
	Reason           pd.Reason
	Prefill, Decode  string // instance IDs
	ServerTiming     string
	RequestID        string
	Elapsed          time.Duration
	PromptTokens     int
	CompletionTokens int
}

// Body is the chat completion that the demo sends and the README shows.
const Body = `{"model":"meta-llama/Llama-3.1-8B-Instruct",` +
	`"messages":[{"role":"user","content":"Explain the benefits of prefill/decode disaggregation"}],` +
	`"max_tokens":100,"temperature":0.7}`

// Curl is the command line that sends Body by hand.
func Curl(router string) string {
	return "curl -X POST " + router + "/v1/chat/completions -H 'Content-Type: application/json' -d '" + Body + "'"
}

// Ask sends a chat completion to the router at the URL and reads the answer.
func Ask(ctx context.Context, router, body string) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, router+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("send the chat completion: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return nil, fmt.Errorf("read the chat completion: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("chat completion: %s: %s", resp.Status, bytes.TrimSpace(raw))
	}
	var parsed struct {
		Choices []struct {
			Message struct{ Content string }
		}
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, fmt.Errorf("read the chat completion: %w", err)
	}
	if len(parsed.Choices) == 0 || parsed.Choices[0].Message.Content == "" {
		return nil, fmt.Errorf("chat completion: 200 without an answer: %.200s", raw)
	}
	h := resp.Header
	return &Answer{
		Text: parsed.Choices[0].Message.Content,
		Path: pd.Path(h.Get(pd.HeaderPath)), Reason: pd.Reason(h.Get(pd.HeaderReason)),
		Prefill: h.Get(pd.HeaderPrefill), Decode: h.Get(pd.HeaderDecode),
		ServerTiming: h.Get(pd.HeaderServerTiming), RequestID: h.Get(pd.HeaderRequestID),
		Elapsed:      time.Since(start),
		PromptTokens: parsed.Usage.Prompt, CompletionTokens: parsed.Usage.Completion,
	}, nil
}

// Ready waits until the router says that it can serve requests.
func Ready(ctx context.Context, router string) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	last := "no answer"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, router+"/ready", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err != nil {
			if ctx.Err() == nil { // our own giving up is not the router's answer
				last = err.Error()
			}
		} else {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = resp.Status + ": " + strings.TrimSpace(string(b))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the router at %s: %w (last: %s)", router, context.Cause(ctx), last)
		case <-t.C:
		}
	}
}
