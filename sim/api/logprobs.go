package api

import (
	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
}

type tokenLogprob struct {
	Token   string         `json:"token"`
	Logprob float64        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogprob `json:"top_logprobs,omitempty"`
}

// chatLogprobs makes up probabilities that depend on nothing but the tokens;
// nil when the request did not ask.
func (p *sampling) chatLogprobs(ids []int) *chatLogprobs {
	if p.logprobs < 0 {
		return nil
	}
	out := &chatLogprobs{Content: []tokenLogprob{}}
	for _, id := range ids {
		t := logprob(id, 0)
		t.Top = []tokenLogprob{}
		for k := 0; k < p.logprobs; k++ {
			t.Top = append(t.Top, logprob(alternative(id, k), k))
		}
		out.Content = append(out.Content, t)
	}
	return out
}

// alternative is the k-th most likely token where id is the first.
func alternative(id, k int) int {
	if k == 0 {
		return id
	}
	return tokens.Word((id + 37*k) % tokens.Words())
}

func logprob(id, rank int) tokenLogprob {
	text := tokens.Decode(id)
	bytes := make([]int, len(text))
	for i := range bytes {
		bytes[i] = int(text[i])
	}
	return tokenLogprob{Token: text, Logprob: likelihood(id, rank), Bytes: bytes}
}

func likelihood(id, rank int) float64 { return -0.25 - float64(id%7)/16 - 1.5*float64(rank) }

type completionLogprobs struct {
	Offsets []int                `json:"text_offset"`
	Logs    []float64            `json:"token_logprobs"`
	Tokens  []string             `json:"tokens"`
	Top     []map[string]float64 `json:"top_logprobs"`
}

// completionLogprobs is the same in the form of /v1/completions; offset is
// where the text starts.
func (p *sampling) completionLogprobs(ids []int, offset int) *completionLogprobs {
	if p.logprobs < 0 {
		return nil
	}
	out := &completionLogprobs{Offsets: []int{}, Logs: []float64{}, Tokens: []string{}, Top: []map[string]float64{}}
	for _, id := range ids {
		text := tokens.Decode(id)
		top := map[string]float64{text: likelihood(id, 0)}
		for k := 1; k < p.logprobs; k++ {
			alt := alternative(id, k)
			top[tokens.Decode(alt)] = likelihood(alt, k)
		}
		out.Offsets, out.Logs = append(out.Offsets, offset), append(out.Logs, likelihood(id, 0))
		out.Tokens, out.Top = append(out.Tokens, text), append(out.Top, top)
		offset += len([]rune(text))
	}
	return out
}
