package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// Result is what one slice of load saw.
type Result struct {
	Requests int
	Failed   int
	// First is the first failure, nil if there is none.
	First   error
	Elapsed time.Duration
	// Latencies is how long each request took, from the first byte sent to the
	// last received; Delays each token's way from the engine. Both are sorted.
	Latencies []time.Duration
	Delays    []time.Duration
}

// Quantile is a value of a sorted list, zero if there is none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Loop is a number of connections that each make one request after another.
type Loop struct {
	clients []*client
}

// NewLoop connects.
func NewLoop(t Target, cell traffic.Cell) (*Loop, error) {
	m := newMessages(t, cell)
	l := &Loop{}
	for range cell.Conns {
		c, err := m.dial()
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("connect to the router: %w", err)
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

// Close ends the connections.
func (l *Loop) Close() {
	for _, c := range l.clients {
		c.close()
	}
}

// Run makes requests for a time; when it returns, all of them are finished.
// A connection that failed is not used again.
func (l *Loop) Run(ctx context.Context, length time.Duration) Result {
	var mu sync.Mutex
	var all Result
	var wg sync.WaitGroup
	begin := time.Now()
	end := begin.Add(length)
	for n, c := range l.clients {
		wg.Go(func() {
			c.stream.delays = c.stream.delays[:0]
			latencies, err := c.loop(ctx, n, end)
			mu.Lock()
			defer mu.Unlock()
			all.Requests += len(latencies)
			all.Latencies = append(all.Latencies, latencies...)
			all.Delays = append(all.Delays, c.stream.delays...)
			if err != nil {
				all.Failed++
				if all.First == nil {
					all.First = err
				}
			}
		})
	}
	wg.Wait()
	all.Elapsed = time.Since(begin)
	slices.Sort(all.Latencies)
	slices.Sort(all.Delays)
	return all
}

func (c *client) loop(ctx context.Context, variant int, end time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	for at := time.Now(); at.Before(end) && ctx.Err() == nil; variant++ {
		if err := c.once(variant % traffic.Variants); err != nil {
			return latencies, err
		}
		now := time.Now()
		latencies = append(latencies, now.Sub(at))
		at = now
	}
	return latencies, nil
}
