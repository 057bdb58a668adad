package judge

import (
	"testing"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// What a fuzzer's bytes are: a document as it is, or choices by which a
// grammar writes one.
const (
	chatRaw byte = iota
	completionsRaw
	answerRaw
	chatGrammar
	completionsGrammar
	answerGrammar
	kinds
)

// FuzzPython holds the router's reading and writing of JSON against Python's.
func FuzzPython(f *testing.F) {
	for _, s := range requests {
		f.Add(chatRaw, []byte(s))
		f.Add(completionsRaw, []byte(s))
	}
	for _, s := range answers {
		f.Add(answerRaw, []byte(s))
	}
	for _, s := range choices {
		f.Add(chatGrammar, []byte(s))
		f.Add(completionsGrammar, []byte(s))
		f.Add(answerGrammar, []byte(s))
	}
	j := newJudged(f)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		kind %= kinds
		doc := data
		if kind >= chatGrammar {
			doc = write(kind, data)
		}
		var difference string
		switch kind {
		case answerRaw, answerGrammar:
			difference = j.answer(t, doc)
		case completionsRaw, completionsGrammar:
			difference = j.request(t, handoff.Completions, doc)
		default:
			difference = j.request(t, handoff.Chat, doc)
		}
		if difference != "" {
			t.Fatalf("%s\nin %.2000q", difference, doc)
		}
	})
}
