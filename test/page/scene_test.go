//go:build browser

package page

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/sim"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

const model = "llama-3.1-8b"

// scene is a router with both of its listeners.
type scene struct {
	source        *source
	public, admin *httptest.Server
}

// source is a fleet that tests change.
type source struct {
	view atomic.Pointer[fleet.Snapshot]
	err  error
}

func (s *source) Snapshot() *fleet.Snapshot { return s.view.Load() }
func (s *source) LastError() error          { return s.err }
func (s *source) Changed() <-chan struct{}  { return nil }

func (s *scene) set(instances ...*fleet.Instance) {
	s.source.view.Store(fleet.NewSnapshot(instances, time.Now()))
}

func newScene(t *testing.T, instances ...*fleet.Instance) *scene {
	s := &scene{source: &source{}}
	s.set(instances...)
	server, err := router.New(router.Config{
		Source: s.source, Logger: hclog.NewNullLogger(), LocalBelow: choose.DefaultThreshold,
		Choose: choose.Config{SlowStart: 30 * time.Second},
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	s.public, s.admin = httptest.NewServer(server.Handler()), httptest.NewServer(server.Admin())
	t.Cleanup(s.public.Close)
	t.Cleanup(s.admin.Close)
	return s
}

func instance(id, url string, role pd.Role) *fleet.Instance {
	return &fleet.Instance{ID: id, URL: url, Role: role, Meta: pd.Meta{Model: model, DPSize: 1}}
}

// nobody is an instance at which nothing listens.
func nobody(id string, role pd.Role) *fleet.Instance { return instance(id, "http://127.0.0.1:1", role) }

// slow is a model that takes long enough to be seen at work.
func slow() *profile.Profile {
	p := profile.Fast()
	p.Step, p.KVTokens = 20*time.Millisecond, 16<<10
	p.PrefillToken = 100 * time.Microsecond
	return &p
}

func simulator(t *testing.T, id string, role pd.Role) *fleet.Instance {
	s, err := sim.Start(t.Context(), sim.Options{Model: model, Role: role, Profile: slow()})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return instance(id, s.URL(), role)
}

// underLoad asks with so many clients at once until the test ends.
func (s *scene) underLoad(t *testing.T, clients int) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				ask(ctx, s.public.URL, c, n)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// ask sends a long prompt, and sometimes one that is short or wants two answers.
func ask(ctx context.Context, url string, client, n int) {
	prompt := fmt.Sprintf("%d %d ", client, n) + strings.Repeat("prefill and decode apart ", 80+40*(client%5))
	more := ""
	switch n % 6 {
	case 4:
		prompt = "hello"
	case 5:
		more = `,"n":2`
	}
	body := fmt.Sprintf(`{"model":%q,"prompt":%q,"max_tokens":%d,"stream":true%s}`, model, prompt, 30+10*(client%7), more)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // the test is over
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
}
