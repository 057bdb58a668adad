package sse

import (
	"bytes"
	"fmt"
)

// Beginnings of error events. Inside a token's text the quotes, or the line
// ends, would be escaped.
const (
	errorChunk  = "data: {\"error\""
	errorNamed  = "\nevent: error\n"
	errorFailed = "\nevent: response.failed\n"
	// eventData begins the one line of data that each named event has.
	eventData = "\ndata: "

	longest = len(endIncomplete)
)

// Beginnings of the events that end a stream.
const (
	endDone       = "data: [DONE]"
	endCompleted  = "\nevent: response.completed\n"
	endIncomplete = "\nevent: response.incomplete\n"
	endMessage    = "\nevent: message_stop\n"
)

// Watch notices error events in a stream that passes by in pieces of any size.
// The zero Watch is ready for OpenAI.
type Watch struct {
	Protocol Protocol

	end    [longest - 1]byte // of what has passed
	n      int
	events int  // of Responses, which numbers them
	over   bool // an event that ends a stream with names was there
}

// Failed reports whether an error event began in the piece, or ends its
// beginning there. An event that is the stream's first is Gate's to judge.
func (w *Watch) Failed(piece []byte) bool {
	var n int
	switch w.Protocol {
	case Responses:
		n = w.count(piece, errorNamed) + w.count(piece, errorFailed)
		w.events += w.count(piece, eventData)
		w.over = w.over || n+w.count(piece, endCompleted)+w.count(piece, endIncomplete) > 0
	case Messages:
		n = w.count(piece, errorNamed)
		w.over = w.over || n+w.count(piece, endMessage) > 0
	default:
		n = w.count(piece, errorChunk)
	}
	w.keep(piece)
	return n > 0
}

// Over reports whether what has passed ends as its protocol has it. A server
// that is killed behind a proxy, or by itself in mid-answer, can end its bytes
// in order, and a client would take the half for the whole.
func (w *Watch) Over() bool {
	return w.over || w.Protocol == OpenAI && bytes.Contains(w.end[:w.n], []byte(endDone))
}

// count is how often a pattern ends in the piece.
func (w *Watch) count(piece []byte, pattern string) int {
	n := bytes.Count(piece, []byte(pattern))
	if w.n == 0 {
		return n
	}
	var seam [2 * longest]byte
	l := copy(seam[:], w.end[max(0, w.n-len(pattern)+1):w.n])
	l += copy(seam[l:], piece[:min(len(piece), len(pattern)-1)])
	return n + bytes.Count(seam[:l], []byte(pattern))
}

// keep remembers the end of what has passed.
func (w *Watch) keep(piece []byte) {
	if len(piece) >= len(w.end) {
		w.n = copy(w.end[:], piece[len(piece)-len(w.end):])
		return
	}
	keep := min(w.n, len(w.end)-len(piece))
	copy(w.end[:], w.end[w.n-keep:w.n])
	w.n = keep + copy(w.end[keep:], piece)
}

// ErrorEvents end a stream that broke off, in the words of its protocol: an
// error given as OpenAI's object, and its type and message apart, all as JSON.
// An empty line comes first, because the last event may have lost its end.
func (w *Watch) ErrorEvents(whole, kind, message []byte) []byte {
	switch w.Protocol {
	case Responses:
		return fmt.Appendf(nil, "\n\nevent: error\ndata: {\"type\":\"error\",\"code\":%s,\"message\":%s,\"param\":null,\"sequence_number\":%d}\n\n", kind, message, w.events)
	case Messages:
		return fmt.Appendf(nil, "\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":%s,\"message\":%s}}\n\n", kind, message)
	}
	return fmt.Appendf(nil, "\n\ndata: %s\n\ndata: [DONE]\n\n", whole)
}
