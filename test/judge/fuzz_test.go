package judge

import (
	"testing"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// FuzzPython holds the router's reading and writing of JSON against Python's.
// kind says which endpoint a document is for, or that it is a prefill's
// answer, and whether data is the document itself, or choices by which a
// grammar writes one.
func FuzzPython(f *testing.F) {
	endpoints := handoff.Endpoints()
	n := byte(len(endpoints))
	for kind := range n {
		seed(f, kind, requests...)
	}
	seed(f, n, answers...)
	for kind := range n + 1 {
		seed(f, n+1+kind, choices...)
	}
	j := newJudged(f)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		kind %= 2 * (n + 1)
		subject, doc := kind%(n+1), data
		if kind > n {
			doc = write(subject == n, data)
		}
		var difference string
		if subject == n {
			difference = j.answer(t, doc)
		} else {
			difference = j.request(t, endpoints[subject], doc)
		}
		if difference != "" {
			t.Fatalf("%s\nin %.2000q", difference, doc)
		}
	})
}

func seed(f *testing.F, kind byte, data ...string) {
	for _, s := range data {
		f.Add(kind, []byte(s))
	}
}
