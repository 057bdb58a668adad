package sse

import (
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
