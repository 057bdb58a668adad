package main

import (
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// lineDelay is how long a line below warn may wait for others: writing each
	// by itself costs more of a request than choosing its instances.
	lineDelay = 100 * time.Millisecond
	// lineRoom is how much may wait.
	lineRoom = 32 << 10
)

// lines writes log lines, those below warn together with what comes within
// lineDelay of them. Their order stays.
type lines struct {
	out io.Writer

	mu      sync.Mutex
	waiting []byte
	timer   *time.Timer // while something waits
}

func newLines(out io.Writer) *lines { return &lines{out: out} }

// LevelWrite takes one or more lines; hclog finds it.
func (l *lines) LevelWrite(level hclog.Level, p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, p...)
	if level >= hclog.Warn || len(l.waiting) >= lineRoom {
		l.flush()
	} else if l.timer == nil {
		l.timer = time.AfterFunc(lineDelay, l.Flush)
	}
	return len(p), nil
}

// Write takes lines of which the level is not known.
func (l *lines) Write(p []byte) (int, error) { return l.LevelWrite(hclog.Warn, p) }

// Flush writes what waits.
func (l *lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

// flush must have mu. An error has no place to be told: this is the log.
func (l *lines) flush() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(l.waiting) > 0 {
		_, _ = l.out.Write(l.waiting)
		l.waiting = l.waiting[:0]
	}
}
