package apm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad-autoscaler/plugins/base"
	"github.com/hashicorp/nomad-autoscaler/sdk"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// consulTimeout bounds one look into Consul: the agent waits for a query
// without a deadline of its own.
const consulTimeout = 5 * time.Second

// Finder answers who is there.
type Finder interface {
	Fetch(ctx context.Context) (*fleet.Snapshot, error)
}

// Plugin is the APM as the autoscaler loads it. It is safe for concurrent use.
type Plugin struct {
	name   string
	logger hclog.Logger
	open   func(Config) (Finder, error)
	memory *memory

	mu     sync.Mutex // guards source, which a SIGHUP replaces
	source *source
}

// source is everything that the config decides. It is replaced as a whole.
type source struct {
	finder  Finder
	where   string
	scraper *scraper
}

// New makes the APM. The name must be the plugin's file name, or the
// autoscaler refuses it. It does no I/O and knows no Consul until SetConfig.
func New(name string, logger hclog.Logger) *Plugin {
	logger = logger.Named("vllm")
	return NewWithFinder(name, logger, func(c Config) (Finder, error) {
		return fleet.NewConsul(fleet.ConsulConfig{
			Address: c.ConsulAddr, Token: c.ConsulToken, Services: []string{c.ConsulService},
		}, logger)
	})
}

// NewWithFinder is New with another way to find instances; open is called by
// each SetConfig.
func NewWithFinder(name string, logger hclog.Logger, open func(Config) (Finder, error)) *Plugin {
	return &Plugin{name: name, logger: logger, open: open, memory: newMemory()}
}

// PluginInfo implements base.Base.
func (p *Plugin) PluginInfo() (*base.PluginInfo, error) {
	return &base.PluginInfo{Name: p.name, PluginType: sdk.PluginTypeAPM}, nil
}

// SetConfig implements base.Base. The agent calls it at its start and again on
// every SIGHUP, while queries run; what the queries remember stays.
func (p *Plugin) SetConfig(config map[string]string) error {
	c, err := ParseConfig(config)
	if err != nil {
		return err
	}
	finder, err := p.open(c)
	if err != nil {
		return fmt.Errorf("apm config: %w", err)
	}
	where := fmt.Sprintf("Consul service %q", c.ConsulService)
	if a, ok := finder.(interface{ Address() string }); ok {
		where += " at " + a.Address()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.source = &source{finder: finder, where: where, scraper: newScraper(c.ScrapeTimeout)}
	return nil
}

// Query implements apm.APM. It always returns at least one point or an error.
// An error makes the agent leave the group as it is, so it is returned only
// when nothing is known. The last point is the newest and fresh; those before
// it are what earlier queries found within the window.
func (p *Plugin) Query(query string, window sdk.TimeRange) (points sdk.TimestampedMetrics, err error) {
	defer func() {
		if r := recover(); r != nil { // a plugin that died is not started again until the agent is
			p.logger.Error("query panicked", "query", query, "panic", r, "stack", string(debug.Stack()))
			points, err = nil, fmt.Errorf("query %q panicked: %v; please report it", query, r)
		}
		err = plain(err)
	}()
	q, err := signal.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	src := p.source
	p.mu.Unlock()
	if src == nil {
		return nil, errors.New("query before SetConfig")
	}
	v, err := p.ask(src, q, window.From)
	if err != nil {
		return nil, fmt.Errorf("query %q: %w", query, err)
	}
	return p.memory.addPoint(q, window.From, sdk.TimestampedMetric{Timestamp: time.Now(), Value: v}), nil
}

// ask finds the group, scrapes it, and makes one number of it.
func (p *Plugin) ask(src *source, q signal.Query, from time.Time) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), consulTimeout)
	defer cancel()
	snapshot, err := src.finder.Fetch(ctx)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", src.where, err)
	}
	instances, err := usable(snapshot, q)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", src.where, err)
	}
	readings := src.scraper.all(context.Background(), instances) // bounded by its own timeout
	good, silent, err := answered(readings)
	if err != nil {
		return 0, err
	}
	if len(silent) > 0 {
		p.logger.Warn("some instances did not answer, taking them to be like the others",
			"query", q.String(), "silent", len(silent), "usable", len(instances), "why", brief(silent))
	}
	v, err := value(q, good, len(instances), from, p.memory)
	if err != nil {
		return 0, err
	}
	p.logger.Trace("answered", "query", q.String(), "value", v, "unit", q.Signal.Unit, "usable", len(instances), "answered", len(good))
	return v, nil
}

// QueryMultiple implements apm.APM. Only the Enterprise agent's sizing of
// single tasks calls it; it gets the one series that there is.
func (p *Plugin) QueryMultiple(query string, window sdk.TimeRange) ([]sdk.TimestampedMetrics, error) {
	points, err := p.Query(query, window)
	if err != nil {
		return nil, err
	}
	return []sdk.TimestampedMetrics{points}, nil
}
