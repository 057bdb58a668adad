package sse

import "bytes"

// errorEvent begins vLLM's error events. Inside a token's text the quotes would
// be escaped.
const errorEvent = `data: {"error"`

// Watch notices error events in a stream that passes by in pieces of any size.
// The zero Watch is ready.
type Watch struct {
	end [len(errorEvent) - 1]byte // of what has passed
	n   int
}

// Failed reports whether an error event began in the piece, or ends its
// beginning there.
func (w *Watch) Failed(piece []byte) bool {
	found := bytes.Contains(piece, []byte(errorEvent))
	if !found && w.n > 0 {
		var seam [2 * len(errorEvent)]byte
		n := copy(seam[:], w.end[:w.n])
		n += copy(seam[n:], piece[:min(len(piece), len(errorEvent)-1)])
		found = bytes.Contains(seam[:n], []byte(errorEvent))
	}
	if len(piece) >= len(w.end) {
		w.n = copy(w.end[:], piece[len(piece)-len(w.end):])
		return found
	}
	keep := min(w.n, len(w.end)-len(piece))
	copy(w.end[:], w.end[w.n-keep:w.n])
	w.n = keep + copy(w.end[keep:], piece)
	return found
}
