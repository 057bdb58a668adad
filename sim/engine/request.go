package engine

import (
	"context"
	"sync"
)

// Request is one sequence to generate.
type Request struct {
	ID     string // unique, with the engine's own suffix
	Prompt []int
	// MaxTokens is at least 1. MinTokens keeps the natural end and stop
	// strings away.
	MaxTokens, MinTokens int
	Stop                 []string
	StopTokens           []int
	IncludeStop          bool // keep the stop string in the text
	IgnoreEOS            bool
	TrimFirst            bool   // no space before the first word
	Salt                 uint64 // tells choices and seeds apart
	CacheSalt            string
	// Adapter is the LoRA adapter that computes; its KV is no other's.
	Adapter string
	// Forced is the whole answer when a grammar leaves no choice; nil is none.
	Forced []int
	// SkipPrefix computes the whole prompt, because something is asked of
	// every position.
	SkipPrefix bool
	// Params is the request's kv_transfer_params; nil when absent.
	Params map[string]any
}

// Output is what one step yields for a sequence.
type Output struct {
	Text   string
	Tokens []int
	// Finish is "stop", "length", "abort" or "error"; empty while running.
	Finish string
	// StopReason is the stop string or token id that ended the text.
	StopReason any
	Err        error
	// Params is the kv_transfer_params of the answer, on the last output.
	Params *TransferParams
	// Cached and Created are the prompt tokens found in and added to the
	// prefix cache.
	Cached, Created int
}

// Done reports whether the output is the sequence's last.
func (o Output) Done() bool { return o.Finish != "" || o.Err != nil }

// Stream delivers a sequence's outputs in order. The engine never waits for
// its reader.
type Stream struct {
	engine *Engine
	seq    *seq

	mu     sync.Mutex
	queue  []Output
	signal chan struct{}
}

func newStream(e *Engine) *Stream { return &Stream{engine: e, signal: make(chan struct{}, 1)} }

func (s *Stream) push(o Output) {
	s.mu.Lock()
	s.queue = append(s.queue, o)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *Stream) pop() (Output, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return Output{}, false
	}
	o := s.queue[0]
	s.queue = s.queue[1:]
	return o, true
}

// Next waits for the next output. When ctx ends first, the sequence is aborted
// and ctx's error returned.
func (s *Stream) Next(ctx context.Context) (Output, error) {
	for {
		if o, ok := s.pop(); ok {
			return o, nil
		}
		select {
		case <-s.signal:
		case <-ctx.Done():
			s.Abort()
			return Output{}, ctx.Err()
		case <-s.engine.done:
			if o, ok := s.pop(); ok {
				return o, nil
			}
			return Output{Err: ErrDead}, nil
		}
	}
}

// Abort ends the sequence and frees what it holds. It does not wait.
func (s *Stream) Abort() {
	s.engine.post(func() { s.engine.abort(s.seq) })
}
