package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/drivers/shared/eventer"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/fsisolation"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
)

const (
	// Name is the driver's name in job files.
	Name = "vllm"
	// Version of the driver, semantic.
	Version = "0.1.0"
)

// Driver implements drivers.DriverPlugin. Its zero value is not usable; see New.
type Driver struct {
	*eventer.Eventer
	log hclog.Logger
	ctx context.Context

	prober prober

	mu    sync.Mutex
	cfg   Config
	mhz   float64 // of one core; 0: not known
	tasks map[string]*handle
	// busy are the tasks that are being started or recovered; the channel is
	// closed when that is over.
	busy map[string]chan struct{}

	warned map[string]bool // see warnOnce

	numbers       *telemetry.Recorder
	telemetryOnce sync.Once
	packages      packageCache
}

var (
	_ drivers.DriverPlugin            = (*Driver)(nil)
	_ drivers.ExecTaskStreamingDriver = (*Driver)(nil)
)

// New returns a driver that runs until ctx ends. Its tasks do not end with it:
// they belong to their supervisors.
func New(ctx context.Context, log hclog.Logger) *Driver {
	log = log.Named(Name)
	return &Driver{
		Eventer: eventer.NewEventer(ctx, log),
		log:     log, ctx: ctx, cfg: defaultConfig(), tasks: map[string]*handle{},
		warned: map[string]bool{}, numbers: telemetry.New(), prober: newProber(), busy: map[string]chan struct{}{},
	}
}

// PluginInfo implements base.BasePlugin.
func (d *Driver) PluginInfo() (*base.PluginInfoResponse, error) {
	return &base.PluginInfoResponse{
		Type:              base.PluginTypeDriver,
		PluginApiVersions: []string{drivers.ApiVersion010},
		PluginVersion:     Version,
		Name:              Name,
	}, nil
}

// ConfigSchema implements base.BasePlugin.
func (d *Driver) ConfigSchema() (*hclspec.Spec, error) { return configSpec(), nil }

// TaskConfigSchema implements drivers.DriverPlugin.
func (d *Driver) TaskConfigSchema() (*hclspec.Spec, error) { return taskConfigSpec(), nil }

// SetConfig implements base.BasePlugin. An agent calls it on several short
// lives of the plugin, first without any agent config.
func (d *Driver) SetConfig(c *base.Config) error {
	cfg := defaultConfig()
	cfg.Command = ""
	if len(c.PluginConfig) > 0 {
		if err := base.MsgPackDecode(c.PluginConfig, &cfg); err != nil {
			return fmt.Errorf("read plugin config: %w", err)
		}
	}
	cfg.complete()
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("plugin config: %w", err)
	}
	mhz := 0.0
	if a := c.AgentConfig; a != nil && a.Driver != nil && a.Driver.Topology != nil {
		if t := a.Driver.Topology; t.NumCores() > 0 {
			mhz = float64(t.TotalCompute()) / float64(t.NumCores())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg, d.mhz = cfg, mhz
	return nil
}

func (d *Driver) config() Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// Capabilities implements drivers.DriverPlugin. The engine runs on the host,
// as under raw_exec: GPUs, RDMA devices and shared memory are all there.
func (d *Driver) Capabilities() (*drivers.Capabilities, error) {
	return &drivers.Capabilities{
		SendSignals:       true,
		Exec:              true,
		FSIsolation:       fsisolation.None,
		NetIsolationModes: []drivers.NetIsolationMode{drivers.NetIsolationModeHost},
		MountConfigs:      drivers.MountConfigSupportNone,
	}, nil
}

// task finds a task, or says that there is none in Nomad's own words.
func (d *Driver) task(id string) (*handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.tasks[id]
	if !ok {
		return nil, fmt.Errorf("task %s: %w", id, drivers.ErrTaskNotFound)
	}
	return h, nil
}

// reserve makes a task the caller's alone until it calls release, unless it is
// known already. Whoever comes meanwhile waits.
func (d *Driver) reserve(id string) (release func(), known bool) {
	for {
		d.mu.Lock()
		ch, busy := d.busy[id]
		if !busy {
			defer d.mu.Unlock()
			if _, known := d.tasks[id]; known {
				return nil, true
			}
			ch = make(chan struct{})
			d.busy[id] = ch
			return func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				delete(d.busy, id)
				close(ch)
			}, false
		}
		d.mu.Unlock()
		<-ch
	}
}

// settled finds a task once its start, if there is one under way, is over.
func (d *Driver) settled(id string) (*handle, error) {
	d.mu.Lock()
	ch := d.busy[id]
	d.mu.Unlock()
	if ch != nil {
		<-ch
	}
	return d.task(id)
}

// WaitTask implements drivers.DriverPlugin. Any number of callers may wait;
// each gets the result.
func (d *Driver) WaitTask(ctx context.Context, id string) (<-chan *drivers.ExitResult, error) {
	h, err := d.task(id)
	if err != nil {
		return nil, err
	}
	ch := make(chan *drivers.ExitResult, 1)
	go func() {
		defer close(ch)
		select {
		case <-h.done:
			ch <- h.result.Copy()
		case <-ctx.Done():
			ch <- &drivers.ExitResult{Err: ctx.Err()}
		case <-d.ctx.Done():
			ch <- &drivers.ExitResult{Err: drivers.ErrTaskNotFound}
		}
	}()
	return ch, nil
}

// defaultStopSignal is what vLLM drains on.
const defaultStopSignal = "SIGTERM"

// StopTask implements drivers.DriverPlugin. A task that is not known has
// stopped: an error would make Nomad ask again and again.
func (d *Driver) StopTask(id string, timeout time.Duration, signal string) error {
	h, err := d.settled(id)
	if errors.Is(err, drivers.ErrTaskNotFound) {
		return nil
	}
	if signal == "" {
		signal = defaultStopSignal
	}
	sig, err := signalNumber(signal)
	if err != nil {
		return err
	}
	if h.running() {
		d.event(h.cfg, fmt.Sprintf("Draining: %s sent; what is left after %s (kill_timeout) is killed", signal, timeout))
	}
	begin := time.Now()
	if err := h.stop(sig, timeout); err != nil {
		return err
	}
	d.numbers.StopTook(time.Since(begin))
	return nil
}

// DestroyTask implements drivers.DriverPlugin.
func (d *Driver) DestroyTask(id string, force bool) error {
	h, err := d.settled(id)
	if errors.Is(err, drivers.ErrTaskNotFound) {
		return nil
	}
	if h.running() {
		if !force {
			return fmt.Errorf("task %s is still running; stop it first", id)
		}
		if err := h.stop(unix.SIGKILL, 0); err != nil {
			return err
		}
	}
	d.mu.Lock()
	delete(d.tasks, id)
	d.mu.Unlock()
	return h.remove()
}

// InspectTask implements drivers.DriverPlugin.
func (d *Driver) InspectTask(id string) (*drivers.TaskStatus, error) {
	h, err := d.task(id)
	if err != nil {
		return nil, err
	}
	return h.status(), nil
}

// SignalTask implements drivers.DriverPlugin: the whole process group gets it.
func (d *Driver) SignalTask(id, signal string) error {
	h, err := d.task(id)
	if err != nil {
		return err
	}
	sig, err := signalNumber(signal)
	if err != nil {
		return err
	}
	return h.signal(sig)
}

func signalNumber(name string) (unix.Signal, error) {
	sig := unix.SignalNum(name)
	if sig == 0 {
		return 0, fmt.Errorf("signal %q: no such signal; write it like \"SIGUSR1\"", name)
	}
	return sig, nil
}

// event tells the user something about a task, in `nomad alloc status`.
func (d *Driver) event(c *drivers.TaskConfig, message string) {
	d.eventAt(c, message, time.Now())
}

func (d *Driver) eventAt(c *drivers.TaskConfig, message string, at time.Time) {
	err := d.EmitEvent(&drivers.TaskEvent{
		TaskID: c.ID, TaskName: c.Name, AllocID: c.AllocID,
		Timestamp: at,
		// Nomad's command line makes columns at each "|".
		Message: strings.ReplaceAll(message, "|", "\u00a6"),
	})
	if err != nil { // the plugin is going down
		d.log.Debug("event not delivered", "task_id", c.ID, "event", message, "error", err)
	}
}
