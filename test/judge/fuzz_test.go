package judge

import (
	"testing"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// FuzzPython holds the router's reading and writing of JSON against Python's.
func FuzzPython(f *testing.F) { fuzz(f, newJudged(f)) }

// FuzzRouter holds the whole router to it: what its clients are told, and what
// reaches the instances.
func FuzzRouter(f *testing.F) { fuzz(f, newRouted(f)) }

// subject is what documents are tried on. Both say what is wrong, "" if nothing is.
type subject interface {
	request(tb testing.TB, ep handoff.Endpoint, raw []byte) string
	answer(tb testing.TB, raw []byte) string
}

// fuzz tries documents on a subject. kind says which endpoint a document is
// for, or that it is a prefill's answer, and whether data is the document
// itself, or choices by which a grammar writes one.
func fuzz(f *testing.F, s subject) {
	endpoints := handoff.Endpoints()
	n := byte(len(endpoints))
	for kind := range n {
		seed(f, kind, requests...)
	}
	seed(f, n, answers...)
	for kind := range n + 1 {
		seed(f, n+1+kind, choices...)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		kind %= 2 * (n + 1)
		what, doc := kind%(n+1), data
		if kind > n {
			doc = write(what == n, data)
		}
		var difference string
		if what == n {
			difference = s.answer(t, doc)
		} else {
			difference = s.request(t, endpoints[what], doc)
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
