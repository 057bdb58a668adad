package engine_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/metrics"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
	"github.com/nomad-vllm/nomad-vllm/sim/sidechannel"
)

// pipes is a network in memory, so that engines can meet in a bubble of
// virtual time.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

var errRefused = errors.New("refused")

func (p *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[address]
	p.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) listen(address string) *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listeners == nil {
		p.listeners = map[string]*pipeListener{}
	}
	p.listeners[address] = l
	return l
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// node is an engine with its metrics.
type node struct {
	*engine.Engine
	m *metrics.Engine
}

func (n *node) value(f *metrics.Family, labels ...string) float64 { return n.m.Value(f, labels...) }

func newNode(t *testing.T, change func(*engine.Config)) *node {
	cfg := engine.Config{
		Profile: profile.Fast(), BlockSize: 16, NumBlocks: 4096, MaxNumSeqs: 64, MaxBatchedTokens: 8192, PrefixCaching: true, Logf: t.Logf,
	}
	cfg.Metrics = metrics.NewEngine(metrics.NewRegistry(time.Now()), metrics.Shape{Model: "m", MaxModelLen: 32768, Connector: true, Fetches: true})
	if change != nil {
		change(&cfg)
	}
	n := &node{engine.New(cfg), cfg.Metrics}
	t.Cleanup(n.Close)
	return n
}

// nodes is a prefill and a decode on one network.
func nodes(t *testing.T, p profile.Profile) (prefill, decode *node, network *pipes) {
	return nodesOf(t, p, p, 1<<14)
}

// nodesOf is nodes with a profile for each and the decode's number of blocks.
func nodesOf(t *testing.T, prefills, decodes profile.Profile, blocks int) (prefill, decode *node, network *pipes) {
	network = &pipes{}
	make := func(id string, p profile.Profile, blocks int) *node {
		return newNode(t, func(c *engine.Config) {
			c.Profile = p
			c.NumBlocks = blocks
			c.Connector = &engine.Connector{EngineID: id, Host: id, Port: 1, Lease: 30 * time.Second, Dial: network.dial}
		})
	}
	prefill, decode = make("prefill", prefills, 1<<14), make("decode", decodes, blocks)
	side := sidechannel.Serve(network.listen("prefill:1"), sidechannel.Meta{EngineID: "prefill", BlockSize: 16}, prefill)
	t.Cleanup(side.Close)
	return prefill, decode, network
}

func prompt(n, salt int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 1000 + (i*31+salt*7)%500
	}
	return out
}

// reply is a whole answer.
type reply struct {
	tokens []int
	last   engine.Output
	first  time.Duration // to the first token
	gap    time.Duration // mean between tokens
	err    error
}

func generate(t *testing.T, n *node, r engine.Request) reply {
	t.Helper()
	return collect(t.Context(), n.Submit(r))
}

func collect(ctx context.Context, s *engine.Stream) reply {
	var out reply
	begin := time.Now()
	for {
		o, err := s.Next(ctx)
		if err == nil {
			err = o.Err
		}
		if err != nil {
			out.err = err
			return out
		}
		if len(out.tokens) == 0 {
			out.first = time.Since(begin)
		}
		out.tokens = append(out.tokens, o.Tokens...)
		out.last = o
		if o.Done() {
			if n := len(out.tokens); n > 1 {
				out.gap = (time.Since(begin) - out.first) / time.Duration(n-1)
			}
			return out
		}
	}
}

var keep = map[string]any{"do_remote_decode": true}

// handed is what a router passes on.
func handed(p *engine.TransferParams) map[string]any {
	ids := make([]any, len(p.BlockIDs[0]))
	for i, id := range p.BlockIDs[0] {
		ids[i] = id
	}
	return map[string]any{
		"do_remote_prefill": true, "remote_block_ids": []any{ids}, "remote_engine_id": p.EngineID,
		"remote_request_id": p.RequestID, "remote_host": p.Host, "remote_port": p.Port,
	}
}

func leg1(t *testing.T, prefill *node, id string, p []int) (reply, map[string]any) {
	t.Helper()
	r := generate(t, prefill, engine.Request{ID: id, Prompt: p, MaxTokens: 1, Params: keep})
	require.NoError(t, r.err)
	require.NotNil(t, r.last.Params)
	return r, handed(r.last.Params)
}
