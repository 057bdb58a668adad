package sse

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatch_findsTheErrorHoweverItIsCut(t *testing.T) {
	const failed = token + `data: {"error": {"message": "x", "code": 500}}` + "\n\n" + done
	for size := 1; size < len(failed); size++ {
		var w Watch
		found := 0
		for rest := failed; rest != ""; rest = rest[min(size, len(rest)):] {
			if w.Failed([]byte(rest[:min(size, len(rest))])) {
				found++
			}
		}
		require.Equal(t, 1, found, "pieces of %d", size)
	}
}

func TestWatch_textIsNoError(t *testing.T) {
	var w Watch
	for _, piece := range []string{role, token, `data: {"choices":[{"delta":{"content":"data: {\"error\": 1}"}}]}` + "\n\n", "", done} {
		require.False(t, w.Failed([]byte(piece)))
	}
}

func TestWatch_knowsWhenAStreamIsOver(t *testing.T) {
	ends := map[Protocol][]string{
		OpenAI:    {"data: [DONE]\n\n", "data: [DONE]"},
		Responses: {named("response.completed"), named("response.incomplete"), named("response.failed"), named("error")},
		Messages:  {named("message_stop"), named("error")},
	}
	for protocol, last := range ends {
		begin := "data: {\"delta\":\"[DONE] event: message_stop, response.completed\"}\n\n" + named("x")
		for _, end := range last {
			for size := 1; size <= len(begin)+len(end); size++ {
				w := Watch{Protocol: protocol}
				for _, part := range []string{begin, end} {
					require.False(t, w.Over(), end)
					for piece := range slices.Chunk([]byte(part), size) {
						w.Failed(piece)
					}
				}
				require.True(t, w.Over(), "%q in pieces of %d", end, size)
			}
		}
	}
}

func named(event string) string {
	return "event: " + event + "\ndata: {\"type\":\"" + event + "\"}\n\n"
}
