package driver

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// StartTask implements drivers.DriverPlugin. It returns once the engine's
// process exists: Nomad remembers the task only from then on, and cannot stop
// one that is still being started, so nothing here waits for the model.
func (d *Driver) StartTask(c *drivers.TaskConfig) (*drivers.TaskHandle, *drivers.DriverNetwork, error) {
	d.openTelemetry()
	begin := time.Now()
	h, err := d.startTask(c)
	if err != nil {
		d.numbers.StartFailed(failureReason(err))
		return nil, nil, err
	}
	d.numbers.Started(time.Since(begin))
	return h, nil, nil
}

func (d *Driver) startTask(c *drivers.TaskConfig) (*drivers.TaskHandle, error) {
	release, known := d.reserve(c.ID)
	if known {
		return nil, fmt.Errorf("task %s: %s was started already", c.ID, c.Name)
	}
	defer release()
	cfg := d.config()
	p, spec, err := prepare(cfg, &d.packages, c)
	if err == nil {
		err = d.prober.check(d.ctx, p.Wants, spec, c.User)
	}
	if err != nil {
		openLogsOnce(c)
		return nil, configError(err)
	}
	d.sweep(cfg, c)
	d.event(c, "Starting: "+commandLine(p.Argv, p.Env))
	for _, note := range p.Notes {
		d.event(c, note)
	}
	if err := makeStateDir(spec.Dir); err != nil {
		return nil, launchError(fmt.Errorf("create task state: %w", err))
	}
	if err := writeFiles(p.Files, spec.User); err != nil {
		_ = os.RemoveAll(spec.Dir)
		openLogsOnce(c)
		return nil, launchError(err)
	}
	dirs := findCgroups(c)
	d.limit(c, dirs, p.Bounds.Limits)
	started, err := shim.Start(spec)
	if err != nil {
		_ = os.RemoveAll(spec.Dir)
		openLogsOnce(c)
		return nil, launchError(fmt.Errorf("start %s: %w", p.Argv[0], err))
	}
	d.checkInside(c, dirs, p.Bounds.Limits, started.Shim.PID)
	state := taskState{Version: stateVersion, Dir: spec.Dir, Cgroup: dirs.Own(), Started: started}
	out := drivers.NewTaskHandle(stateVersion)
	out.Config = c
	out.State = drivers.TaskStateRunning
	if err := out.SetDriverState(&state); err != nil {
		d.end(c.ID, spec.Dir)
		return nil, fmt.Errorf("encode task state: %w", err)
	}
	d.adopt(c, state)
	d.log.Info("task started", "task_id", c.ID, "pid", started.Task.PID, "shim_pid", started.Shim.PID)
	return out, nil
}

// prepare does everything that needs no process yet.
func prepare(cfg Config, known *packageCache, c *drivers.TaskConfig) (plan, shim.Spec, error) {
	p, err := planTask(cfg, known, c)
	if err != nil {
		return plan{}, shim.Spec{}, err
	}
	spec, err := newSpec(cfg, c, p)
	return p, spec, err
}

// openLogsOnce lets Nomad's log collector, which waits for the first writer of
// its fifos, see the end of them; else a task that could not start shows its
// reason only after the collector's timeout of some seconds.
func openLogsOnce(c *drivers.TaskConfig) {
	for _, path := range []string{c.StdoutPath, c.StderrPath} {
		if f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}
}

// planTask gathers the situation of a task and decides how to launch it.
func planTask(cfg Config, known *packageCache, c *drivers.TaskConfig) (plan, error) {
	var tc TaskConfig
	if err := c.DecodeDriverConfig(&tc); err != nil {
		return plan{}, fmt.Errorf("read task config: %w", err)
	}
	devices, devErr := visibleDevices(reservedIDs(c.DeviceEnv, c.Env), func() (map[string]int, error) {
		return gpuIndex(cfg.GPUProcDir)
	})
	nodeGPUs := 0
	if !devices.Reserved() {
		present, _ := procIndex(cfg.GPUProcDir) // what cannot be listed is no GPU that CUDA would find
		nodeGPUs = len(present)
	}
	engine, engineErr := cfg.engineOf(tc)
	env := withRuntimeEnv(c.Env, engine.Env)
	dir := c.TaskDir()
	p, err := newPlan(situation{
		Task: tc, Command: engine.Command, Ports: portsOf(c), Env: env, GPUs: devices, NodeGPUs: nodeGPUs,
		Versions: versionsOf(tc, engine, known, env, dir.Dir), LMCacheVersion: cfg.LMCacheVersion,
		DenyArgs: cfg.DenyArgs, DenyUnlimitedMemory: cfg.DenyUnlimitedMemory,
		Resources: resourcesOf(c), Ulimit: cfg.Ulimit, UlimitMax: cfg.UlimitMax, Root: os.Geteuid() == 0,
		SecretsDir: dir.SecretsDir, Brought: readBrought(tc, env, dir.Dir),
	})
	return p, errors.Join(engineErr, err, devErr, mounts(c.Mounts), deniedEnv(cfg.DenyEnv, c.Env, os.LookupEnv))
}

// mounts refuses what would silently not be there. Nomad cannot: of a driver in
// a plugin it believes that it mounts everything, whatever Capabilities says.
func mounts(wanted []*drivers.MountConfig) error {
	var errs []error
	for _, m := range wanted {
		if filepath.Clean(m.TaskPath) != filepath.Clean(m.HostPath) {
			errs = append(errs, fmt.Errorf("volume_mount %q: the engine runs on the node itself, where nothing is mounted for it; remove volume_mount and use the volume's own path, %q", m.TaskPath, m.HostPath))
		}
	}
	return errors.Join(errs...)
}

func portsOf(c *drivers.TaskConfig) []port {
	if c.Resources == nil || c.Resources.Ports == nil {
		return nil
	}
	var out []port
	for _, p := range *c.Resources.Ports {
		out = append(out, port{Label: p.Label, HostIP: p.HostIP, Number: p.Value})
	}
	return out
}

// newSpec resolves what the plan names on this node: executable, user, cgroup.
func newSpec(cfg Config, c *drivers.TaskConfig, p plan) (shim.Spec, error) {
	workDir := c.TaskDir().Dir
	cred, identity, userErr := lookupUser(c.User)
	maps.Copy(p.Env, identity)
	env := envList(p.Env)
	path, err := shim.LookPath(p.Argv[0], env, workDir)
	if err == nil {
		path, err = cfg.allowedCommand(p.Argv[0], path, c.AllocDir, cred)
	}
	if err := errors.Join(err, userErr); err != nil {
		return shim.Spec{}, err
	}
	s := shim.Spec{
		TaskID: c.ID, Dir: stateDir(cfg, c),
		Path: path, Argv: p.Argv, Env: env, WorkDir: workDir, User: cred,
		Stdout: c.StdoutPath, Stderr: c.StderrPath,
	}
	g := findCgroups(c)
	if s.Memory, s.JoinV1 = g.Memory, g.Join(); g.Version == 2 {
		s.Cgroup = g.Freezer
	}
	if g.Shared { // what it counts is not this task's alone
		s.Memory = ""
	}
	s.Rlimits, s.OOMScore = p.Bounds.Rlimits, p.Bounds.OOMScore
	return s, nil
}

const allocStateDir = ".nomad-driver-vllm"

// stateDir is the driver's own directory for a task. The ID ends in a suffix
// that is new at every start.
func stateDir(cfg Config, c *drivers.TaskConfig) string {
	name := stateName(c.ID)
	if cfg.StateDir != "" {
		return filepath.Join(cfg.StateDir, name)
	}
	return filepath.Join(c.AllocDir, allocStateDir, name)
}

// makeStateDir also stands the end of another task at this moment, which
// removes the directory above if it was the last one in it.
func makeStateDir(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	for i := 0; i < 10 && errors.Is(err, os.ErrNotExist); i++ {
		err = os.MkdirAll(dir, 0o700)
	}
	return err
}

func stateName(taskID string) string { return strings.ReplaceAll(taskID, "/", "_") }

func envList(env map[string]string) []string {
	var out []string
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}
