package router

import (
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

const (
	// flowSeconds is how far back the status page looks.
	flowSeconds = 60
	// localKept is how many of the latest local requests it shows.
	localKept = 20
)

// Flow is the requests of the last minute that took one way.
type Flow struct {
	Prefill string `json:"prefill,omitempty"` // empty: the decode alone
	Decode  string `json:"decode"`
	Count   int    `json:"count"`
}

// Local is one request that lost disaggregation, or never had it.
type Local struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Reason    pd.Reason `json:"reason"`
	Decode    string    `json:"decode"`
}

// flows counts where requests went, second by second.
type flows struct {
	mu      sync.Mutex
	seconds [flowSeconds]struct {
		at     int64 // Unix time
		counts map[[2]string]int
	}
	locals [localKept]Local
	next   int
}

// saw counts one finished request.
func (f *flows) saw(now time.Time, o *outcome, id string) {
	if o.decode == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.seconds[now.Unix()%flowSeconds]
	if s.at != now.Unix() {
		s.at, s.counts = now.Unix(), map[[2]string]int{}
	}
	s.counts[[2]string{o.prefill, o.decode}]++
	if o.path == pd.PathLocal {
		f.locals[f.next%localKept] = Local{At: now, RequestID: id, Reason: o.reason, Decode: o.decode}
		f.next++
	}
}

// lastMinute is what was counted, and the latest local requests, newest first.
func (f *flows) lastMinute(now time.Time) (out []Flow, locals []Local) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := map[[2]string]int{}
	for _, s := range f.seconds {
		if s.at > now.Unix()-flowSeconds {
			for pair, n := range s.counts {
				sum[pair] += n
			}
		}
	}
	for pair, n := range sum {
		out = append(out, Flow{Prefill: pair[0], Decode: pair[1], Count: n})
	}
	for n := 1; n <= min(f.next, localKept); n++ {
		locals = append(locals, f.locals[(f.next-n)%localKept])
	}
	return out, locals
}
