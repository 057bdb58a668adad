package shim

import (
	"bytes"
	"sync"
)

// tail keeps the last lines of both streams.
type tail struct {
	mu    sync.Mutex
	lines []string
	part  []byte
}

const (
	tailLines   = 20
	tailLineMax = 500 // bytes
)

func (t *tail) add(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if room := tailLineMax - len(t.part); room > 0 {
				t.part = append(t.part, b[:min(room, len(b))]...)
			}
			return
		}
		t.part = append(t.part, b[:i]...)
		t.push()
		b = b[i+1:]
	}
}

func (t *tail) push() {
	line := bytes.TrimRight(t.part, "\r")
	if len(line) > 0 {
		t.lines = append(t.lines, string(line[:min(len(line), tailLineMax)]))
		if len(t.lines) > tailLines {
			t.lines = append(t.lines[:0:0], t.lines[len(t.lines)-tailLines:]...)
		}
	}
	t.part = t.part[:0]
}

func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push()
	return t.lines
}
