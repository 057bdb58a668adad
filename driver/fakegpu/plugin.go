package fakegpu

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/device"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/hashicorp/nomad/plugins/shared/structs"
)

const (
	// Name of the plugin.
	Name = "fake-gpu"
	// Version of the plugin, semantic.
	Version = "0.1.0"

	vendor = "nvidia"
)

// Plugin implements device.DevicePlugin.
type Plugin struct {
	log hclog.Logger
	mu  sync.Mutex
	cfg settings
}

var _ device.DevicePlugin = (*Plugin)(nil)

// New returns a plugin; it does nothing until Nomad asks.
func New(log hclog.Logger) *Plugin {
	cfg, err := defaultConfig().check()
	if err != nil {
		panic(err) // the defaults are constants
	}
	return &Plugin{log: log.Named(Name), cfg: cfg}
}

// PluginInfo implements base.BasePlugin.
func (p *Plugin) PluginInfo() (*base.PluginInfoResponse, error) {
	return &base.PluginInfoResponse{
		Type:              base.PluginTypeDevice,
		PluginApiVersions: []string{device.ApiVersion010},
		PluginVersion:     Version,
		Name:              Name,
	}, nil
}

// ConfigSchema implements base.BasePlugin.
func (p *Plugin) ConfigSchema() (*hclspec.Spec, error) { return configSpec(), nil }

// SetConfig implements base.BasePlugin.
func (p *Plugin) SetConfig(c *base.Config) error {
	cfg := defaultConfig()
	if len(c.PluginConfig) > 0 {
		if err := base.MsgPackDecode(c.PluginConfig, &cfg); err != nil {
			return fmt.Errorf("read plugin config: %w", err)
		}
	}
	s, err := cfg.check()
	if err != nil {
		return fmt.Errorf("plugin config: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg = s
	return nil
}

func (p *Plugin) settings() settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg
}

// Fingerprint implements device.DevicePlugin: the devices at once, and again
// whenever the health of one changes.
func (p *Plugin) Fingerprint(ctx context.Context) (<-chan *device.FingerprintResponse, error) {
	cfg := p.settings()
	if cfg.ProcDir != "" {
		if err := writeProc(cfg); err != nil {
			return nil, err
		}
	}
	ch := make(chan *device.FingerprintResponse)
	go func() {
		defer close(ch)
		tick := time.NewTicker(cfg.period)
		defer tick.Stop()
		var told map[string]string
		for first := true; ; first = false {
			sick, err := readHealth(cfg.HealthFile)
			if err != nil {
				p.log.Warn("health file not read; all devices count as healthy", "error", err)
			}
			if first || !maps.Equal(sick, told) {
				told = sick
				select {
				case ch <- device.NewFingerprint(group(cfg, sick)):
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, nil
}

// Reserve implements device.DevicePlugin, with what the nvidia plugin gives: a
// list of UUIDs and neither mounts nor device files.
func (p *Plugin) Reserve(ids []string) (*device.ContainerReservation, error) {
	known := map[string]bool{}
	for _, g := range fakes(p.settings().Count) {
		known[g.uuid] = true
	}
	for _, id := range ids {
		if !known[id] {
			return nil, fmt.Errorf("reserve %q: no such device; there are %d, from %q", id, len(known), uuid(0))
		}
	}
	return &device.ContainerReservation{
		Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(ids, ",")},
	}, nil
}

// Stats implements device.DevicePlugin. Nothing runs on a fake GPU, and that
// is what it reports.
func (p *Plugin) Stats(ctx context.Context, interval time.Duration) (<-chan *device.StatsResponse, error) {
	cfg := p.settings()
	ch := make(chan *device.StatsResponse)
	go func() {
		defer close(ch)
		tick := time.NewTicker(max(interval, minPeriod))
		defer tick.Stop()
		for {
			select {
			case ch <- &device.StatsResponse{Groups: []*device.DeviceGroupStats{groupStats(cfg, time.Now())}}:
			case <-ctx.Done():
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, nil
}

func groupStats(cfg settings, now time.Time) *device.DeviceGroupStats {
	total, _ := cfg.memory.GetInt()
	out := &device.DeviceGroupStats{Vendor: vendor, Type: device.DeviceTypeGPU, Name: cfg.Model, InstanceStats: map[string]*device.DeviceStats{}}
	for _, g := range fakes(cfg.Count) {
		memory := &structs.StatValue{Desc: "UsedMemory / TotalMemory", Unit: cfg.memory.Unit, IntNumeratorVal: new(int64), IntDenominatorVal: &total}
		out.InstanceStats[g.uuid] = &device.DeviceStats{
			Summary:   memory,
			Stats:     &structs.StatObject{Attributes: map[string]*structs.StatValue{"Memory state": memory}},
			Timestamp: now,
		}
	}
	return out
}
