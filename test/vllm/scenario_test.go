package vllm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

// body is a JSON request; the value `absent` removes a key.
type body map[string]any

var absent = new(int)

func (b body) with(more body) body {
	out := maps.Clone(b)
	maps.Copy(out, more)
	for k, v := range out {
		if v == absent {
			delete(out, k)
		}
	}
	return out
}

// A scenario is a few requests to one prefill and one decode, run alike against
// real vLLM and against the simulator.
type scenario struct {
	name string
	run  func(*session)
}

// session runs one scenario against one pair and keeps what was answered.
type session struct {
	prefillURL, decodeURL string
	name                  string
	salt                  string // makes the prompts of every run new to the prefix cache
	client                *http.Client
	ctx                   context.Context // of every request; nil: until the client's timeout
	answers               []answer
}

// answer is what one request got.
type answer struct {
	Step   string        `json:"step"`
	Status int           `json:"status"` // 0: no answer
	Header http.Header   `json:"header,omitempty"`
	Body   string        `json:"body"`
	Err    string        `json:"err,omitempty"`
	Took   time.Duration `json:"-"`
	Asked  string        `json:"-"`
}

// newSalt makes a run's prompts its own.
func newSalt() string { return fmt.Sprintf("%x", time.Now().UnixNano()) }

func newSession(prefillURL, decodeURL, name, salt string) *session {
	return &session{
		prefillURL: prefillURL, decodeURL: decodeURL, name: name, salt: salt,
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}},
	}
}

// text is a prompt of a few KV blocks that no earlier request has sent.
func (s *session) text() string {
	return s.name + " " + s.salt + " the prefill reads the prompt and keeps its blocks, the decode fetches them and writes"
}

func (s *session) chat(more body) body {
	return body{
		"model": model, "messages": []body{{"role": "user", "content": s.text()}}, "max_tokens": 6, "temperature": 0,
	}.with(more)
}

func (s *session) completion(more body) body {
	return body{"model": model, "prompt": s.text(), "max_tokens": 6, "temperature": 0}.with(more)
}

// leg1 makes a request one for a prefill.
func leg1(b body) body {
	if b["input"] != nil { // /v1/responses
		return b.with(body{"max_output_tokens": 1, "stream": absent, "kv_transfer_params": askParams()})
	}
	return b.with(body{"max_tokens": 1, "stream": absent, "stream_options": absent, "min_tokens": absent, "kv_transfer_params": askParams()})
}

func askParams() body {
	return body{
		"do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": nil,
		"remote_block_ids": nil, "remote_host": nil, "remote_port": nil,
	}
}

// params are the kv_transfer_params of a prefill's answer, edited.
func (a answer) params(edit body) body {
	var got struct {
		Params body `json:"kv_transfer_params"`
	}
	if json.Unmarshal([]byte(a.Body), &got) != nil || got.Params == nil {
		return nil
	}
	return got.Params.with(edit)
}

// handoff runs both legs; edit changes the parameters in between.
func (s *session) handoff(path string, b, edit body) (first, second answer) {
	first = s.prefill(path, leg1(b))
	second = s.decode(path, b.with(body{"kv_transfer_params": first.params(edit)}))
	return first, second
}

func (s *session) prefill(path string, b any, header ...string) answer {
	return s.send("prefill", http.MethodPost, s.prefillURL+path, b, header...)
}

func (s *session) decode(path string, b any, header ...string) answer {
	return s.send("decode", http.MethodPost, s.decodeURL+path, b, header...)
}

func (s *session) decodeMethod(method, path string) answer {
	return s.send("decode", method, s.decodeURL+path, "")
}

// send keeps and returns the answer. A string body goes out as it is. Headers are name, value pairs.
func (s *session) send(to, method, url string, b any, header ...string) answer {
	raw, isText := b.(string)
	if !isText {
		j, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		raw = string(j)
	}
	path := "/" + strings.SplitN(url, "/", 4)[3]
	a := answer{Step: fmt.Sprintf("%d %s %s %s", len(s.answers)+1, to, method, path), Asked: raw}
	ctx := s.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(raw))
	if err != nil {
		panic(err)
	}
	if raw != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	start := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		a.Err = err.Error()
	} else {
		defer resp.Body.Close()
		var got bytes.Buffer
		if _, err := io.Copy(&got, resp.Body); err != nil {
			a.Err = err.Error()
		}
		a.Status, a.Header, a.Body = resp.StatusCode, resp.Header, got.String()
	}
	a.Took = time.Since(start)
	s.answers = append(s.answers, a)
	return a
}
