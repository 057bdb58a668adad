package roster

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
)

// world is a fleet of instances that can be asked.
type world struct {
	*Roster
	mu      sync.Mutex
	view    *fleet.Snapshot
	changed chan struct{}
	says    map[string][]string // by ID; none: it fails
	hangs   map[string]bool
	asked   map[string][]time.Duration // when, since the start
	began   time.Time
	at, max int // asked at the same time, now and at most
	log     bytes.Buffer
}

func (w *world) Snapshot() *fleet.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

func (w *world) Changed() <-chan struct{} { return w.changed }

func (w *world) set(instances ...*fleet.Instance) {
	w.mu.Lock()
	w.view = fleet.NewSnapshot(instances, time.Now())
	w.mu.Unlock()
	w.changed <- struct{}{}
}

func (w *world) say(id string, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says[id] = names
}

func (w *world) hang(id string, does bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hangs[id] = does
}

func (w *world) ask(ctx context.Context, i *fleet.Instance) (pool.Listed, error) {
	w.mu.Lock()
	w.asked[i.ID] = append(w.asked[i.ID], time.Since(w.began))
	w.at++
	w.max = max(w.max, w.at)
	names, hangs := w.says[i.ID], w.hangs[i.ID]
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.at--; w.mu.Unlock() }()
	wait := 10 * time.Millisecond
	if hangs {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return pool.Listed{}, ctx.Err()
	}
	if names == nil {
		return pool.Listed{}, errors.New("answered 401")
	}
	return pool.Listed{Names: names, Bases: names[:1]}, nil
}

func (w *world) times(id string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Duration(nil), w.asked[id]...)
}

// names is what is known of an instance.
func (w *world) names(i *fleet.Instance) []string { return (*w.Lists())[i.Key()].Names }

func at(id string, change ...func(*fleet.Instance)) *fleet.Instance {
	i := &fleet.Instance{ID: id, URL: "http://" + id, Role: pd.RoleBoth}
	for _, f := range change {
		f(i)
	}
	return i
}

func critical(i *fleet.Instance) { i.Unusable = "critical" }

func newWorld(instances ...*fleet.Instance) *world {
	w := &world{
		view: fleet.NewSnapshot(instances, time.Now()), changed: make(chan struct{}, 1), says: map[string][]string{}, hangs: map[string]bool{},
		asked: map[string][]time.Duration{}, began: time.Now(),
	}
	w.Roster = New(Config{Source: w, Ask: w.ask, Logger: hclog.New(&hclog.LoggerOptions{Output: &w.log})})
	return w
}

// run plays f against a roster that runs. The bubble fails if it leaves a
// goroutine behind.
func run(t *testing.T, f func(t *testing.T, w *world), instances ...*fleet.Instance) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(instances...)
		for _, i := range instances {
			w.say(i.ID, "m")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(100 * time.Millisecond)
		f(t, w)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.False(t, w.runs)
	})
}
