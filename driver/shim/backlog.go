package shim

import (
	"bytes"
	"fmt"
	"sync"
)

// backlogLimit bounds what a stream's reader may be behind, in bytes.
const backlogLimit = 1 << 20

// backlog holds what the engine has said on one stream and Nomad has not yet
// taken. One goroutine adds and never waits; one takes. When it is full it
// drops whole lines and says so in their place, so that what is read later is
// not taken for all there was.
type backlog struct {
	mu     sync.Mutex
	held   []byte
	gap    int64 // bytes dropped behind held; 0: none
	all    int64 // bytes dropped ever
	inLine bool  // what came last, held or dropped, did not end its line
	cut    bool  // what is held does not end its line
	closed bool
	more   chan struct{} // capacity 1: something changed
}

func newBacklog() *backlog { return &backlog{more: make(chan struct{}, 1)} }

func (q *backlog) add(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	inLine := b[len(b)-1] != '\n'
	if q.gap > 0 {
		b = q.resume(b)
	}
	q.inLine = inLine
	if len(b) == 0 {
		return
	}
	room := max(backlogLimit-len(q.held), 0)
	if len(b) > room {
		whole := bytes.LastIndexByte(b[:room], '\n') + 1
		q.drop(len(b) - whole)
		b = b[:whole]
	}
	q.hold(b)
}

// resume ends a gap with the first new line once half of the room is free
// again, and returns what of b comes behind it.
func (q *backlog) resume(b []byte) []byte {
	skip := 0
	if q.inLine {
		if skip = bytes.IndexByte(b, '\n') + 1; skip == 0 {
			skip = len(b)
		}
	}
	if len(q.held) > backlogLimit/2 {
		skip = len(b)
	}
	q.drop(skip)
	if skip < len(b) {
		q.note()
	}
	return b[skip:]
}

// note marks the gap.
func (q *backlog) note() {
	if q.gap == 0 {
		return
	}
	end := ""
	if q.cut {
		end = "\n"
	}
	q.hold(fmt.Appendf(nil, "%s[nomad-driver-vllm: %d bytes of log dropped here: nobody read them]\n", end, q.gap))
	q.gap = 0
}

func (q *backlog) hold(b []byte) {
	if len(b) == 0 {
		return
	}
	q.held = append(q.held, b...)
	q.cut = b[len(b)-1] != '\n'
	q.wake()
}

func (q *backlog) drop(n int) {
	q.gap += int64(n)
	q.all += int64(n)
}

func (q *backlog) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// close says that nothing is added any more.
func (q *backlog) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.note()
	q.closed = true
	q.wake()
}

// take waits for something; false: there will be nothing any more.
func (q *backlog) take() ([]byte, bool) {
	for {
		q.mu.Lock()
		n := min(len(q.held), chunkSize)
		b, closed := q.held[:n:n], q.closed
		if q.held = q.held[n:]; len(q.held) == 0 {
			q.held = nil // with the memory behind it
		}
		q.mu.Unlock()
		if n > 0 || closed {
			return b, n > 0
		}
		<-q.more
	}
}

// abandon drops what is held; unwritten is what was taken and not passed on.
func (q *backlog) abandon(unwritten int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all += int64(len(q.held) + unwritten)
	q.held = nil
}

// dropped is how many bytes nobody got.
func (q *backlog) dropped() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}
