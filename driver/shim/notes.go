package shim

import (
	"bytes"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

// Note is one sentence of the story that an engine's log tells.
type Note struct {
	Seq  int       `json:"seq"` // from 1
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	// Ready is how long the engine took to serve; 0: the note says something else.
	Ready time.Duration `json:"ready,omitempty"`
}

// notes reads both streams as they pass and remembers what is worth telling.
// The pumps feed it, so nothing in it may wait.
type notes struct {
	mu      sync.Mutex
	started time.Time
	story   *enginelog.Story
	clues   *enginelog.Clues
	list    []Note
	// taken is how far some plugin has come: the next life of the plugin,
	// which does not know, goes on from there.
	taken   int
	changed chan struct{} // closed, and made anew, with every note
}

func newNotes(started time.Time) *notes {
	return &notes{started: started, story: enginelog.NewStory(started), clues: enginelog.NewClues(), changed: make(chan struct{})}
}

// line is called with each line of the log.
func (n *notes) line(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if f := n.clues.Line(text, now); f != nil {
		n.add("Warning: "+f.Advice(text), now)
	}
	if told := n.story.Line(text, now); told != "" {
		n.add(told, now)
		if ready := n.story.Ready(); !ready.IsZero() { // nothing is told after that
			n.list[len(n.list)-1].Ready = ready.Sub(n.started)
		}
	}
}

// add is called with the lock held.
func (n *notes) add(told string, now time.Time) {
	n.list = append(n.list, Note{Seq: len(n.list) + 1, At: now, Text: told})
	close(n.changed)
	n.changed = make(chan struct{})
}

// after returns the notes behind the first seq ones, and a channel that is
// closed when there are more.
func (n *notes) after(seq int) ([]Note, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taken = min(max(n.taken, seq), len(n.list))
	return append([]Note(nil), n.list[n.taken:]...), n.changed
}

// causeWindow is how long before its end an engine that has served says what
// ends it. One that never served may have said it at any time.
const causeWindow = 2 * time.Minute

// cause is what the log gives away about an end at the given time.
func (n *notes) cause(finished time.Time) *enginelog.Finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	since := time.Time{}
	if !n.story.Ready().IsZero() {
		since = finished.Add(-causeWindow)
	}
	return n.clues.Cause(since)
}

// splitter cuts one stream into lines for a notes. A progress bar ends its
// lines with a carriage return.
type splitter struct {
	notes *notes
	part  []byte
}

func (s *splitter) add(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			if room := tailLineMax - len(s.part); room > 0 {
				s.part = append(s.part, b[:min(room, len(b))]...)
			}
			return
		}
		line := b[:i]
		if len(s.part) > 0 {
			s.part = append(s.part, line[:min(len(line), max(0, tailLineMax-len(s.part)))]...)
			line = s.part
		}
		if len(line) > 0 {
			s.notes.line(string(line[:min(len(line), tailLineMax)]))
		}
		s.part = s.part[:0]
		b = b[i+1:]
	}
}
