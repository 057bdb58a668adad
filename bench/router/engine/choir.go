package engine

import (
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// choir holds streams until all of them are open, and then writes the tokens
// of all of them from one goroutine: ten thousand timers and goroutines would
// take the time that the router needs.
type choir struct {
	mu      sync.Mutex
	members []*member
}

// member is one stream; its connection's goroutine waits for the end.
type member struct {
	w      *writer
	answer traffic.Answer
	said   int
	end    chan error // has room for one
}

// join waits until the stream has been released and spoken to its end.
func (c *choir) join(w *writer, a traffic.Answer) error {
	m := &member{w: w, answer: a, end: make(chan error, 1)}
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	return <-m.end
}

// held is how many wait.
func (c *choir) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// release lets everybody who waits now speak, and returns at once.
func (c *choir) release() {
	c.mu.Lock()
	members := c.members
	c.members = nil
	c.mu.Unlock()
	if len(members) > 0 {
		go conduct(members)
	}
}

// beats is how many times the choir speaks within one gap, each time another
// part of it.
const beats = 100

// conduct writes the tokens, one gap apart for each stream, the streams spread
// evenly over the gap. What a stream has to say fits into its socket's buffer,
// so that no write waits for a router.
func conduct(members []*member) {
	gap := members[0].answer.Gap
	begin := time.Now()
	for beat := 0; len(members) > 0; beat++ {
		time.Sleep(time.Until(begin.Add(time.Duration(beat) * gap / beats)))
		for n := beat % beats; n < len(members); n += beats {
			members[n].speak()
		}
		if beat%beats == beats-1 && members[0].said >= members[0].answer.Tokens {
			return // all have said as much as the first
		}
	}
}

// speak says one token, and after the last one ends the stream.
func (m *member) speak() {
	if m.said >= m.answer.Tokens {
		return
	}
	err := m.w.token()
	if m.said++; err == nil && m.said < m.answer.Tokens {
		return
	}
	if err == nil {
		err = m.w.end()
	}
	m.said = m.answer.Tokens
	m.end <- err
}
