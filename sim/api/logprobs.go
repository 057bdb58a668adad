package api

import (
	"slices"
	"strconv"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
}

type topLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

type tokenLogprob struct {
	topLogprob
	Top []topLogprob `json:"top_logprobs"`
}

// maxLogprobs is vLLM's default limit of alternatives.
const maxLogprobs = 20

// chatLogprobs makes up probabilities that depend on nothing but the tokens;
// nil when the request did not ask.
func (p *sampling) chatLogprobs(ids []int) *chatLogprobs {
	if p.logprobs < 0 {
		return nil
	}
	out := &chatLogprobs{Content: []tokenLogprob{}}
	for _, id := range ids {
		t := tokenLogprob{p.logprob(id, 0), []topLogprob{}}
		for k := 0; k < p.logprobs; k++ {
			t.Top = append(t.Top, p.logprob(alternative(id, k), k))
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

func (p *sampling) logprob(id, rank int) topLogprob {
	text := tokens.Decode(id)
	bytes := make([]int, len(text))
	for i := range bytes {
		bytes[i] = int(text[i])
	}
	if p.tokensAsIDs {
		text = "token_id:" + strconv.Itoa(id)
	}
	return topLogprob{Token: text, Logprob: likelihood(id, rank), Bytes: bytes}
}

// promptLogprob is one token's in prompt_logprobs.
type promptLogprob struct {
	Logprob float64 `json:"logprob"`
	Rank    int     `json:"rank"`
	Decoded string  `json:"decoded_token"`
}

// promptLogs is prompt_logprobs: for each token of the prompt but the first its
// own and the likeliest others; nil when the request did not ask.
func (p *sampling) promptLogs(prompt []int) []map[string]promptLogprob {
	if p.promptLogprobs < 0 {
		return nil
	}
	out := []map[string]promptLogprob{nil}
	for _, id := range prompt[1:] {
		m := map[string]promptLogprob{strconv.Itoa(id): {likelihood(id, 1), 2, tokens.Decode(id)}}
		for k := 1; k <= p.promptLogprobs; k++ {
			alt := alternative(id, k)
			m[strconv.Itoa(alt)] = promptLogprob{likelihood(alt, k-1), k, tokens.Decode(alt)}
		}
		out = append(out, m)
	}
	return out
}

func likelihood(id, rank int) float64 { return -0.25 - float64(id%7)/16 - 1.5*float64(rank) }

type completionLogprobs struct {
	Offsets []int                `json:"text_offset"`
	Logs    []*float64           `json:"token_logprobs"`
	Tokens  []string             `json:"tokens"`
	Top     []map[string]float64 `json:"top_logprobs"`
}

// completionLogprobs is the same in the form of /v1/completions. With echo the
// prompt comes first, and its first token has none.
func (p *sampling) completionLogprobs(prompt, ids []int) *completionLogprobs {
	if p.logprobs < 0 {
		return nil
	}
	out := &completionLogprobs{Offsets: []int{}, Logs: []*float64{}, Tokens: []string{}, Top: []map[string]float64{}}
	offset := 0
	for i, id := range slices.Concat(prompt, ids) {
		text := tokens.Decode(id)
		v := likelihood(id, 0)
		top := map[string]float64{text: v}
		for k := 1; k < p.logprobs; k++ {
			alt := alternative(id, k)
			top[tokens.Decode(alt)] = likelihood(alt, k)
		}
		log := &v
		if i == 0 && len(prompt) > 0 {
			log, top = nil, nil
		}
		out.Offsets, out.Logs = append(out.Offsets, offset), append(out.Logs, log)
		out.Tokens, out.Top = append(out.Tokens, text), append(out.Top, top)
		offset += len([]rune(text))
	}
	return out
}
