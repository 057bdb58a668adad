package router

import (
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/buffer"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
	"github.com/nomad-vllm/nomad-vllm/router/metrics"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/roster"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

// Server routes requests.
type Server struct {
	cfg      Config
	logger   hclog.Logger
	client   *upstream.Client
	asker    *upstream.Client // for lists of models: the ledger judges by the age of the legs' connections
	chooser  *choose.Chooser
	worth    *choose.Worth
	breakers *breaker.Breakers
	keys     *admit.Keys
	queue    *admit.Queue
	metrics  *metrics.Metrics
	roster   *roster.Roster
	table    atomic.Pointer[table]
	draining atomic.Bool
	cutOff   atomic.Bool
	drains   drains
	flows    flows
	memory   buffer.Pool
	nixl     *handoff.NIXL
	ledger   *handoff.Ledger
	trips    sync.Pool
}

// New makes a server; it does no I/O.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.complete()
	keys, err := admit.NewKeys(cfg.Keys)
	if err != nil {
		return nil, err
	}
	instances := upstream.Config{DialTimeout: cfg.DialTimeout, TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.UpstreamCAs}}
	s := &Server{
		cfg:    cfg,
		logger: cfg.Logger.Named("router"),
		client: upstream.New(instances),
		asker:  upstream.New(instances),

		chooser:  choose.New(cfg.Choose),
		worth:    choose.NewWorth(cfg.LocalBelow),
		breakers: breaker.New(cfg.Breaker),
		keys:     keys,
		queue:    admit.NewQueue(cfg.Limits, nil),

		nixl:   handoff.NewNIXL(),
		ledger: handoff.NewLedger(),
		trips:  sync.Pool{New: func() any { return &trip{} }},
	}
	s.roster = roster.New(roster.Config{Source: cfg.Source, Ask: s.listed, Logger: s.logger})
	s.metrics = metrics.New(s.view)
	return s, nil
}

// Close drops idle connections to the instances.
func (s *Server) Close() {
	s.client.Close()
	s.asker.Close()
}

// Drain makes /ready answer 503, so that whoever balances over routers goes
// elsewhere; requests are still served.
func (s *Server) Drain() { s.draining.Store(true) }

// CutOff says that requests whose context ends from now on are cut off by the
// router: their clients are still there and are told so.
func (s *Server) CutOff() { s.cutOff.Store(true) }

// errStopping is what those clients are told.
func errStopping() *apiError {
	return unavailable("the router is stopping, and its time to finish requests is over")
}

// currentTable is the pools of the source's snapshot, nil until there is one.
// It is built once and shared.
func (s *Server) currentTable() *pool.Table {
	snap := s.cfg.Source.Snapshot()
	if snap == nil {
		return nil
	}
	lists := s.roster.Lists()
	if t := s.table.Load(); t != nil && t.of == snap && t.lists == lists && t.drains == s.drains.state() {
		return t.Table
	}
	usable, drains := s.drains.apply(snap)
	t := &table{Table: pool.NewTable(usable, *lists), of: snap, lists: lists, drains: drains}
	s.table.Store(t)
	s.chooser.Keep(snap)
	s.breakers.Keep(snap)
	return t.Table
}

// table is the pools of one snapshot by what was listed, less what was drained
// then.
type table struct {
	*pool.Table
	of     *fleet.Snapshot
	lists  *roster.Lists
	drains int
}

// tracePick writes down what a pick is made from, where someone is watching.
func (s *Server) tracePick(id, leg string, candidates []*fleet.Instance) {
	if !s.logger.IsTrace() {
		return
	}
	loads := make([]string, 0, len(candidates))
	for _, i := range candidates {
		loads = append(loads, fmt.Sprintf("%s:%+v", i.ID, s.chooser.Of(i)))
	}
	s.logger.Trace("pick", "request_id", id, "leg", leg, "candidates", loads)
}

// Metrics are all that the router counts, for who sends them elsewhere.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics.Gatherer() }

// view is what the metrics show of the instances.
func (s *Server) view() metrics.View {
	t := s.currentTable()
	if t == nil {
		return metrics.View{Age: -1}
	}
	v := metrics.View{}
	v.Running, v.Queued = s.queue.Depth()
	if at := t.Snapshot.At; !at.IsZero() {
		v.Age = max(0, time.Since(at))
	}
	for _, i := range t.Snapshot.Instances {
		l := s.chooser.Of(i)
		v.Instances = append(v.Instances, metrics.Instance{
			ID: i.ID, Model: i.Meta.Model, Role: i.Role, Usable: i.Usable(),
			Prefills: l.Prefills, PrefillBytes: l.PrefillBytes, Decodes: l.Decodes,
			Breaker: s.breakers.State(i), Share: l.Share,
		})
	}
	return v
}
