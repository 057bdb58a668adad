package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// request is what matters of a body, raw.
type request struct {
	tag                             traffic.Tag
	stream, maxTokens, maxCompleted string
	streamOptions, minTokens        string
	params                          []byte
}

// sample is how many bodies there are to one that is decoded in full.
const sample = 64

func (i *instance) read(body []byte) (request, error) {
	var q request
	var user string
	err := http1.Members(body, func(key, value []byte) {
		switch string(key) {
		case "user":
			user = string(value)
		case "stream":
			q.stream = string(value)
		case "max_tokens":
			q.maxTokens = string(value)
		case "max_completion_tokens":
			q.maxCompleted = string(value)
		case "stream_options":
			q.streamOptions = string(value)
		case "min_tokens":
			q.minTokens = string(value)
		case "kv_transfer_params":
			q.params = value
		}
	})
	if err != nil {
		return q, err
	}
	if len(user) < 2 {
		return q, errors.New("the member user did not arrive")
	}
	if q.tag, err = traffic.ParseTag(user[1 : len(user)-1]); err != nil {
		return q, err
	}
	if i.seen.Add(1)%sample == 1 {
		return q, i.whole(body, q.tag)
	}
	return q, nil
}

// prompt is the part of a body that no router has any business with.
type prompt struct {
	Model    string           `json:"model"`
	Messages []map[string]any `json:"messages"`
}

// whole checks that the prompt is the client's, after decoding all of it.
func (b *bench) whole(body []byte, tag traffic.Tag) error {
	var got prompt
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("body of %s: %w", tag, err)
	}
	want, ok := b.prompts.Load(tag)
	if !ok {
		var sent prompt
		if err := json.Unmarshal(traffic.Body(tag), &sent); err != nil {
			return err
		}
		want, _ = b.prompts.LoadOrStore(tag, sent)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("body of %s: model or messages are not the client's", tag)
	}
	return nil
}

func absent(raw string) bool { return raw == "" || raw == "null" }

// isLeg1 checks what a prefill must be asked: one token, whole, kept for a
// remote decode.
func (q request) isLeg1() error {
	tokens := q.maxTokens
	if !absent(q.maxCompleted) { // in chat it wins
		tokens = q.maxCompleted
	}
	switch {
	case tokens != "1":
		return fmt.Errorf("leg 1 asks for %s tokens, want 1", tokens)
	case !absent(q.stream) && q.stream != "false":
		return errors.New("leg 1 is streamed")
	case !absent(q.streamOptions):
		return errors.New("leg 1 has stream_options without stream")
	case !absent(q.minTokens) && q.minTokens != "0" && q.minTokens != "1":
		return errors.New("leg 1 has min_tokens above max_tokens")
	}
	p, err := params(q.params)
	if err == nil && (string(p["do_remote_decode"]) != "true" || string(p["do_remote_prefill"]) == "true") {
		err = errors.New("leg 1 does not ask for do_remote_decode alone")
	}
	return err
}

// isLeg2 checks that a decode gets the client's request with the params of
// one prefill, which nobody has used yet; a plain decode must get none.
func (i *instance) isLeg2(q request) error {
	if want := fmt.Sprint(traffic.MaxTokens); q.maxTokens != want || !absent(q.maxCompleted) && q.maxCompleted != want {
		return fmt.Errorf("max_tokens is %s/%s, want the client's %s", q.maxTokens, q.maxCompleted, want)
	}
	if (q.stream == "true") != q.tag.Answer.Stream() {
		return fmt.Errorf("stream is %q, not the client's", q.stream)
	}
	if i.role == plain {
		if q.params != nil {
			return errors.New("kv_transfer_params on a plain request")
		}
		return nil
	}
	p, err := params(q.params)
	if err != nil {
		return err
	}
	return i.redeem(p)
}

func params(raw []byte) (map[string][]byte, error) {
	if raw == nil {
		return nil, errors.New("no kv_transfer_params")
	}
	p := make(map[string][]byte, 12)
	if err := http1.Members(raw, func(key, value []byte) { p[string(key)] = value }); err != nil {
		return nil, fmt.Errorf("kv_transfer_params: %w", err)
	}
	return p, nil
}
