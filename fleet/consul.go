package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// ConsulConfig says where the instances are registered. Everything that it
// leaves empty comes from Consul's usual environment (CONSUL_HTTP_ADDR,
// CONSUL_HTTP_TOKEN, CONSUL_HTTP_SSL, CONSUL_CACERT, CONSUL_NAMESPACE, ...).
type ConsulConfig struct {
	// Address of the Consul HTTP API, "host:port" or a URL. Default
	// CONSUL_HTTP_ADDR, else 127.0.0.1:8500.
	Address string
	// Token is the ACL token; it needs service read on the names below and
	// node read. Default CONSUL_HTTP_TOKEN, else none.
	Token string
	// Datacenter to read. Default: the one of the Consul that answers.
	Datacenter string
	// Services are the names that instances register under. Default
	// pd.DefaultService alone.
	Services []string
	// Wait is how long one blocking query may stay open, default 30 s. It
	// bounds how old an unchanged snapshot's At gets.
	Wait time.Duration
	// MinDelay is the least time between two queries of one service, default
	// 100 ms: a flapping check must not turn the watch into a busy loop.
	MinDelay time.Duration
}

// Consul watches the instances that are registered in Consul.
type Consul struct {
	cfg    ConsulConfig
	health *api.Health
	logger hclog.Logger

	current atomic.Pointer[Snapshot]
	lastErr atomic.Pointer[error]
	changed chan struct{}

	mu    sync.Mutex // guards parts and every write to current
	parts map[string]part
}

// part is the last good answer for one service name.
type part struct {
	instances []*Instance
	at        time.Time
}

// NewConsul makes a watcher; it does no I/O until Run or Fetch.
func NewConsul(cfg ConsulConfig, logger hclog.Logger) (*Consul, error) {
	if len(cfg.Services) == 0 {
		cfg.Services = []string{pd.DefaultService}
	}
	if slices.Contains(cfg.Services, "") {
		return nil, errors.New("consul service name is empty; name the service that the instances register under")
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 30 * time.Second
	}
	if cfg.MinDelay <= 0 {
		cfg.MinDelay = 100 * time.Millisecond
	}
	apiCfg := api.DefaultConfig()
	if cfg.Address != "" {
		apiCfg.Address = cfg.Address
	}
	if cfg.Token != "" {
		apiCfg.Token = cfg.Token
	}
	if cfg.Datacenter != "" {
		apiCfg.Datacenter = cfg.Datacenter
	}
	client, err := api.NewClient(apiCfg)
	if err != nil {
		return nil, fmt.Errorf("consul client for %q: %w", apiCfg.Address, err)
	}
	cfg.Address = apiCfg.Address
	return &Consul{
		cfg:     cfg,
		health:  client.Health(),
		logger:  logger.Named("consul"),
		changed: make(chan struct{}, 1),
		parts:   map[string]part{},
	}, nil
}

// Address is where the watcher asks, for messages.
func (c *Consul) Address() string { return c.cfg.Address }

// Services are the service names that are watched, for messages.
func (c *Consul) Services() []string { return slices.Clone(c.cfg.Services) }

// Snapshot is the last good view, nil until the first answer.
func (c *Consul) Snapshot() *Snapshot { return c.current.Load() }

// LastError is why the latest query failed, nil if it succeeded (or none was made).
func (c *Consul) LastError() error {
	if p := c.lastErr.Load(); p != nil {
		return *p
	}
	return nil
}

// Changed receives after the set of instances changed. It is coalesced (one
// token, however many changes) and has room for one reader.
func (c *Consul) Changed() <-chan struct{} { return c.changed }

// Run watches until ctx ends, then waits for its goroutines and returns the
// context's cause. Consul being away is not an error: the last good view is
// kept and the watch goes on.
func (c *Consul) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, name := range c.cfg.Services {
		wg.Go(func() { c.watch(ctx, name) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Fetch reads every service once, without blocking for a change and without
// touching what Snapshot returns. It fails if any of the reads fails, because
// half a fleet would be taken for a whole one.
func (c *Consul) Fetch(ctx context.Context) (*Snapshot, error) {
	at := time.Now()
	var all []*Instance
	for _, name := range c.cfg.Services {
		entries, _, err := c.read(ctx, name, 0)
		if err != nil {
			return nil, err
		}
		all = append(all, c.instances(entries)...)
	}
	return NewSnapshot(all, at), nil
}

// publish puts one service's answer into the common snapshot.
func (c *Consul) publish(name string, instances []*Instance, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts[name] = part{instances: instances, at: at}

	var all []*Instance
	for _, p := range c.parts {
		all = append(all, p.instances...)
		if p.at.Before(at) {
			at = p.at // the view is as old as its oldest part
		}
	}
	next := NewSnapshot(all, at)
	last := c.current.Load()
	if last != nil && slices.EqualFunc(last.Instances, next.Instances, func(a, b *Instance) bool { return *a == *b }) {
		c.current.Store(&Snapshot{Instances: last.Instances, At: at})
		return
	}
	c.current.Store(next)
	c.logChanges(last, next)
	select {
	case c.changed <- struct{}{}:
	default: // a token is already waiting: its reader will see this change too
	}
}

// logChanges says who came, went, or changed state: one line each.
func (c *Consul) logChanges(last, next *Snapshot) {
	before := map[string]*Instance{}
	if last != nil {
		for _, i := range last.Instances {
			before[i.ID] = i
		}
	}
	for _, i := range next.Instances {
		old := before[i.ID]
		delete(before, i.ID)
		switch {
		case old != nil && *old == *i:
		case !i.Usable():
			c.logger.Info("instance is unusable", "instance", i.ID, "role", i.Role, "url", i.URL, "reason", i.Unusable)
		case old == nil || !old.Usable():
			c.logger.Info("instance is usable", "instance", i.ID, "role", i.Role, "url", i.URL, "model", i.Meta.Model)
		default:
			c.logger.Info("instance changed", "instance", i.ID, "role", i.Role, "url", i.URL, "model", i.Meta.Model)
		}
	}
	for id, i := range before {
		c.logger.Info("instance is gone", "instance", id, "role", i.Role, "url", i.URL)
	}
}
