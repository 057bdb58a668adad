package engine

import (
	"strings"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// pending is the text of an answer that has not been sent yet, held back as
// long as it may be the beginning of a stop string.
type pending struct {
	held    string
	started bool
}

// add takes a token's text and returns what may be sent, and the stop string
// that was met, if one was.
func (p *pending) add(token int, req *Request, mayStop bool) (send, stop string) {
	piece := tokens.Decode(token)
	if !p.started && req.TrimFirst {
		piece = strings.TrimPrefix(piece, " ")
	}
	p.started = true
	p.held += piece
	longest := 0
	for _, st := range req.Stop {
		longest = max(longest, len(st))
		if at := strings.Index(p.held, st); mayStop && at >= 0 {
			if req.IncludeStop {
				at += len(st)
			}
			return p.held[:at], st
		}
	}
	n := max(len(p.held)-max(longest-1, 0), 0)
	for n > 0 && n < len(p.held) && p.held[n]&0xc0 == 0x80 {
		n-- // not inside a rune
	}
	send, p.held = p.held[:n], p.held[n:]
	return send, ""
}

// rest is what is held back when the answer ends.
func (p *pending) rest() string {
	out := p.held
	p.held = ""
	return out
}
