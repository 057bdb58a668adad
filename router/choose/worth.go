package choose

import (
	"sync"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// Worth decides whether a prompt is worth a handoff. A handoff costs a second
// leg and a transfer, some 20 ms and more where the link is slow; computing a
// short prompt beside other sequences costs those a step that takes longer.
// Its methods may be called concurrently.
type Worth struct {
	fixed int // bytes; negative: learnt
	mu    sync.Mutex
	// Seconds by bytes to compute: leg 1, leg 2 to its first token, and the
	// local path to its first token.
	prefill, handover, local line
}

// Learn is the threshold that stands for one learnt from measured times.
const Learn = -1

// DefaultThreshold is some 256 tokens.
const DefaultThreshold = 1 << 10

// learntMost bounds what is learnt: how much a long prompt delays the other
// sequences of a decode is not in the times that are measured.
const learntMost = 16 << 10

// NewWorth takes the threshold in bytes of prompt text that would have to be
// computed, below which a request goes local. 0: none does.
func NewWorth(threshold int) *Worth { return &Worth{fixed: threshold} }

// Threshold is the one in force, in bytes.
func (w *Worth) Threshold() int {
	if w.fixed >= 0 {
		return w.fixed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.prefill.known() || !w.handover.known() || !w.local.known() {
		return DefaultThreshold
	}
	// Where local(x) = prefill(x) + handover(x).
	a1, b1 := w.prefill.fit()
	a2, b2 := w.handover.fit()
	a3, b3 := w.local.fit()
	gap, slope := a1+a2-a3, b3-b1-b2
	switch {
	case gap <= 0:
		return 0 // a handoff costs nothing here
	case slope <= 0 || gap/slope > learntMost:
		return learntMost
	}
	return int(gap / slope)
}

// Local decides by what a prefill and what the decode would each have to
// compute of a prompt of that many bytes; ReasonNone: hand over.
func (w *Worth) Local(prompt, atPrefill, atDecode int) pd.Reason {
	t := w.Threshold()
	switch {
	case t == 0:
		return pd.ReasonNone
	case prompt < t:
		return pd.ReasonShortPrompt
	case atDecode < t && atDecode <= atPrefill+t:
		return pd.ReasonCachedPrefix
	}
	return pd.ReasonNone
}

// Handed records a handoff: the prompt bytes that the prefill computed, and
// the seconds of leg 1 and of leg 2 up to its first token.
func (w *Worth) Handed(bytes int, prefill, firstToken float64) {
	if w.fixed >= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prefill.add(float64(bytes), prefill)
	w.handover.add(float64(bytes), firstToken)
}

// Alone records the local path: bytes that the decode computed itself, and the
// seconds to its first token.
func (w *Worth) Alone(bytes int, firstToken float64) {
	if w.fixed >= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.local.add(float64(bytes), firstToken)
}

// line is a least-squares fit that forgets: a sample's weight halves with
// every 350 that follow it.
type line struct{ n, x, y, xx, xy float64 }

const forget = 0.998

// samplesKnown is the weight of samples from which a line says something.
const samplesKnown = 20

func (l *line) add(x, y float64) {
	l.n = l.n*forget + 1
	l.x = l.x*forget + x
	l.y = l.y*forget + y
	l.xx = l.xx*forget + x*x
	l.xy = l.xy*forget + x*y
}

func (l *line) known() bool { return l.n >= samplesKnown }

// fit is y = a + b x with b not negative: longer prompts do not take less.
func (l *line) fit() (a, b float64) {
	d := l.n*l.xx - l.x*l.x
	if d > 1e-9*l.n*l.xx {
		b = max(0, (l.n*l.xy-l.x*l.y)/d)
	}
	return (l.y - b*l.x) / l.n, b
}
