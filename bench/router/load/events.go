package load

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// stream counts the tokens of one answer and notes when each one came.
type stream struct {
	tokens int
	done   bool
	rest   []byte
	now    int64           // when the piece came, Unix time in nanoseconds
	delays []time.Duration // each token's way from the engine, of all answers so far
}

func (s *stream) start() { s.tokens, s.done, s.rest = 0, false, s.rest[:0] }

// take reads events out of a piece of the body, which may end anywhere.
func (s *stream) take(piece []byte) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, piece...)
		piece = s.rest
	}
	for {
		i := bytes.Index(piece, []byte("\n\n"))
		if i < 0 {
			s.rest = append(s.rest[:0], piece...)
			return nil
		}
		if err := s.event(piece[:i]); err != nil {
			return err
		}
		piece = piece[i+2:]
	}
}

func (s *stream) event(e []byte) error {
	if bytes.Equal(e, []byte("data: [DONE]")) {
		s.done = true
		return nil
	}
	const key = `"content":"`
	i := bytes.Index(e, []byte(key))
	if i < 0 || len(e) < i+len(key)+19 || s.done {
		return fmt.Errorf("not a token: %.200s", e)
	}
	at, err := strconv.ParseInt(string(e[i+len(key):i+len(key)+19]), 10, 64)
	if err != nil {
		return fmt.Errorf("not a token's time: %w", err)
	}
	s.tokens++
	s.delays = append(s.delays, time.Duration(s.now-at))
	return nil
}

// complete is an error if the answer ended early.
func (s *stream) complete(a traffic.Answer) error {
	if s.tokens != a.Tokens || !s.done {
		return fmt.Errorf("stream ended after %d of %d tokens, [DONE] %v", s.tokens, a.Tokens, s.done)
	}
	return nil
}
