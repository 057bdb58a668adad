package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

const stateVersion = 1

// taskState is what Nomad keeps for us between two lives of the plugin.
type taskState struct {
	Version int          `codec:"version"`
	Dir     string       `codec:"dir"`
	Cgroup  string       `codec:"cgroup"` // that is the task's alone; empty: none
	Started shim.Started `codec:"started"`
}

// RecoverTask implements drivers.DriverPlugin. It neither starts nor waits for
// anything: how a task fares that has ended meanwhile is WaitTask's to tell.
func (d *Driver) RecoverTask(t *drivers.TaskHandle) error {
	if t == nil || t.Config == nil {
		return errors.New("recover task: no handle")
	}
	release, known := d.reserve(t.Config.ID)
	if known {
		return nil
	}
	defer release()
	d.openTelemetry()
	s, err := decodeState(t)
	if err != nil {
		if s, err = d.rebuildState(t.Config, err); err != nil {
			d.numbers.Recovered(false)
			return fmt.Errorf("recover task %s: %w", t.Config.ID, err)
		}
	}
	d.adopt(t.Config, s)
	d.numbers.Recovered(true)
	d.log.Info("task recovered", "task_id", t.Config.ID, "pid", s.Started.Task.PID)
	return nil
}

func decodeState(t *drivers.TaskHandle) (taskState, error) {
	var s taskState
	if err := t.GetDriverState(&s); err != nil {
		return taskState{}, fmt.Errorf("decode state: %w", err)
	}
	if s.Version != stateVersion {
		return taskState{}, fmt.Errorf("state has version %d: this driver reads version %d", s.Version, stateVersion)
	}
	// The directory is removed with the task, so it must be one of ours.
	if !filepath.IsAbs(s.Dir) || filepath.Base(s.Dir) != stateName(t.Config.ID) {
		return taskState{}, fmt.Errorf("state has directory %q: not that of task %s", s.Dir, t.Config.ID)
	}
	if s.Started.Shim.PID <= 1 || s.Started.Task.PID <= 1 || s.Started.Boot == "" {
		return taskState{}, errors.New("state lacks a process or a boot id")
	}
	return s, nil
}

// rebuildState makes up for a state that cannot be read: the shim, which sits
// where the task's config says, knows it. If there is a directory but no shim,
// the task has ended; then a state without processes will do to find its
// record, or its orphans.
func (d *Driver) rebuildState(c *drivers.TaskConfig, cause error) (taskState, error) {
	ctx, cancel := context.WithTimeout(d.ctx, stopCallTimeout)
	defer cancel()
	s := taskState{Version: stateVersion, Dir: stateDir(d.config(), c), Cgroup: findCgroups(c).Own()}
	if !exists(s.Dir) {
		return taskState{}, cause
	}
	var err error
	if s.Started, err = (shim.Client{Dir: s.Dir}).Status(ctx); err != nil {
		d.log.Warn("rebuild a task's state", "task_id", c.ID, "cause", cause, "error", err)
		s.Started.Boot, err = shim.BootID()
	}
	return s, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
