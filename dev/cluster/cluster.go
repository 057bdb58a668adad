package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
)

// Config describes a cluster. Every field must be set unless it says otherwise.
type Config struct {
	// StateDir holds everything that the cluster writes: configuration, data,
	// logs. It is created, and belongs to one cluster at a time.
	StateDir string
	// Paths of the agents.
	Nomad, Consul, Autoscaler string
	// BinDir holds this project's binaries (the plugins, pd-router, vllm-sim).
	BinDir string
	// EngineCommand is what the driver runs as `vllm`.
	EngineCommand string
	// Runtimes are further engines of the driver by name; default none.
	Runtimes map[string]string
	// GPUs is how many fake GPUs the node offers.
	GPUs int
	// Durable runs Nomad as an ordinary agent that keeps its state and leaves
	// its tasks running when it ends, rather than as `nomad agent -dev`. It
	// takes some 15 s longer to start.
	Durable bool
	// Trace makes Nomad log at TRACE, as JSON, whose times have microseconds.
	Trace bool
	// Say is told, in a few words, what is happening; it may be nil.
	Say func(format string, args ...any)
}

// Cluster is a running one. Its methods are for one goroutine at a time.
type Cluster struct {
	Ports  Ports
	Nomad  *nomadapi.Client
	Consul *consulapi.Client

	cfg                       Config
	values                    configValues
	consul, nomad, autoscaler *process
	release                   func() // gives the state directory back
}

// Start brings up all three agents and waits until the node is ready for
// jobs. On an error whatever was started is stopped again.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, ...any) {}
	}
	c := &Cluster{cfg: cfg}
	if err := c.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", cfg.StateDir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{c.startConsul, c.StartNomad, c.startAutoscaler} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) prepare(ctx context.Context) (err error) {
	if c.cfg.StateDir, err = filepath.Abs(c.cfg.StateDir); err != nil {
		return err
	}
	if c.release, err = own(c.cfg.StateDir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.release()
		}
	}()
	if err := takeOver(ctx, c.cfg.StateDir, c.cfg.Say); err != nil {
		return err
	}
	if err := claim(c.cfg.StateDir); err != nil {
		return err
	}
	plugins := filepath.Join(c.cfg.StateDir, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	// Nomad and the autoscaler try everything executable in their plugin
	// directory, so it holds the plugins only.
	for _, name := range []string{"nomad-driver-vllm", "nomad-device-fakegpu", "nomad-autoscaler-vllm"} {
		if err := linkOrCopy(filepath.Join(c.cfg.BinDir, name), filepath.Join(plugins, name)); err != nil {
			return err
		}
	}
	if c.Ports, err = choosePorts(); err != nil {
		return err
	}
	c.values = configValues{
		Ports: c.Ports, PluginDir: plugins, DataDir: filepath.Join(c.cfg.StateDir, "nomad"),
		Durable: c.cfg.Durable, Trace: c.cfg.Trace, CPU: nodeCPUMHz, MemoryMB: nodeMemoryMB, GPUs: c.cfg.GPUs,
		EngineCommand: c.cfg.EngineCommand, Runtimes: c.cfg.Runtimes, GPUProcDir: filepath.Join(c.cfg.StateDir, "gpus"),
	}
	return c.clients()
}

func (c *Cluster) clients() (err error) {
	c.Nomad, err = nomadapi.NewClient(&nomadapi.Config{Address: c.NomadAddr()})
	if err != nil {
		return err
	}
	c.Consul, err = consulapi.NewClient(&consulapi.Config{Address: c.ConsulAddr()})
	return err
}

// NomadAddr is the Nomad API's URL.
func (c *Cluster) NomadAddr() string { return "http://" + loopback(c.Ports.NomadHTTP) }

// ConsulAddr is the Consul API's host and port.
func (c *Cluster) ConsulAddr() string { return loopback(c.Ports.ConsulHTTP) }

// StateDir is the absolute path of the cluster's state.
func (c *Cluster) StateDir() string { return c.cfg.StateDir }

// LogFile is where an agent ("nomad", "consul", "autoscaler") writes its log.
func (c *Cluster) LogFile(agent string) string {
	return filepath.Join(c.cfg.StateDir, "logs", agent+".log")
}

func (c *Cluster) startConsul(ctx context.Context) error {
	conf, err := writeConfig(consulConfig, c.cfg.StateDir, c.values)
	if err != nil {
		return err
	}
	c.consul, err = startProcess("consul", c.LogFile("consul"), c.environ(), c.cfg.Consul, "agent", "-dev", "-config-file", conf)
	if err != nil {
		return err
	}
	return waitFor(ctx, c.consul, 30*time.Second, "consul to elect itself", func() error {
		leader, err := c.Consul.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("no leader yet")
		}
		return err
	})
}

// StartNomad starts the Nomad agent, the first time or again after it was
// stopped or killed, and waits until its node is ready.
func (c *Cluster) StartNomad(ctx context.Context) error {
	conf, err := writeConfig(nomadConfig, c.cfg.StateDir, c.values)
	if err != nil {
		return err
	}
	args := []string{"agent", "-config", conf}
	if !c.cfg.Durable {
		args = append(args, "-dev")
	}
	// Tasks under raw_exec inherit this environment: the router finds Consul
	// by it, and pd-router by PATH.
	env := append(c.environ(), "CONSUL_HTTP_ADDR="+c.ConsulAddr(), "PATH="+c.cfg.BinDir+string(os.PathListSeparator)+os.Getenv("PATH"))
	c.nomad, err = startProcess("nomad", c.LogFile("nomad"), env, c.cfg.Nomad, args...)
	if err != nil {
		return err
	}
	return waitFor(ctx, c.nomad, 90*time.Second, "the nomad node", c.nodeReady)
}

// nodeReady wants the node registered, eligible and with both our plugins
// healthy: a job submitted before that would not be placed at once.
func (c *Cluster) nodeReady() error {
	nodes, _, err := c.Nomad.Nodes().List(nil)
	if err != nil {
		return err
	}
	if len(nodes) != 1 || nodes[0].Status != "ready" {
		return errors.New("node not ready")
	}
	node, _, err := c.Nomad.Nodes().Info(nodes[0].ID, nil)
	if err != nil {
		return err
	}
	d := node.Drivers["vllm"]
	switch {
	case d == nil || !d.Detected:
		return errors.New("driver vllm not detected")
	case !d.Healthy:
		return fmt.Errorf("driver vllm unhealthy: %s", d.HealthDescription)
	case c.cfg.GPUs > 0 && (node.NodeResources == nil || len(node.NodeResources.Devices) == 0):
		return errors.New("no GPU devices yet")
	}
	return nil
}

// environ is what every agent starts with.
func (c *Cluster) environ() []string { return append(os.Environ(), marker+c.cfg.StateDir) }

// KillNomad ends the Nomad agent without a chance to clean up, as a crash would.
func (c *Cluster) KillNomad() { c.nomad.kill() }

// StopNomad ends the Nomad agent in an orderly way.
func (c *Cluster) StopNomad() { c.nomad.stop(30 * time.Second) }

func (c *Cluster) startAutoscaler(ctx context.Context) error {
	conf, err := writeConfig(autoscalerConfig, c.cfg.StateDir, c.values)
	if err != nil {
		return err
	}
	c.autoscaler, err = startProcess("autoscaler", c.LogFile("autoscaler"), c.environ(), c.cfg.Autoscaler, "agent", "-config", conf)
	if err != nil {
		return err
	}
	return waitFor(ctx, c.autoscaler, 30*time.Second, "the autoscaler", func() error {
		return healthy("http://" + loopback(c.Ports.AutoscalerHTTP) + "/v1/health")
	})
}

// Err reports the first agent that has ended by itself, with the end of its log.
func (c *Cluster) Err() error {
	for _, p := range []*process{c.consul, c.nomad, c.autoscaler} {
		if p != nil {
			if err := p.exited(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Stop stops every job, ends the agents and reports anything that is still
// running.
func (c *Cluster) Stop() error {
	defer c.release()
	var errs []error
	if c.autoscaler != nil { // first: it must not scale what is being stopped
		c.autoscaler.stop(10 * time.Second)
	}
	if c.nomad != nil && c.nomad.exited() == nil {
		errs = append(errs, c.stopJobs())
		c.nomad.stop(30 * time.Second)
	}
	if c.consul != nil {
		c.consul.stop(10 * time.Second)
	}
	errs = append(errs, unmount(c.cfg.StateDir))
	left, err := Leftovers(c.cfg.StateDir)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("still running:\n  %s", joinLines(left))
	}
	return errors.Join(append(errs, err)...)
}
