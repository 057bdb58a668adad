package driver

import (
	"errors"

	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
)

// openTelemetry begins to send the driver's numbers. An agent starts several
// short lives of a plugin only to look at it; this one is asked for tasks.
func (d *Driver) openTelemetry() {
	d.telemetryOnce.Do(func() {
		var s telemetry.Settings
		if t := d.config().Telemetry; t != nil {
			s = *t
		}
		d.numbers.Open(d.ctx, s, d.log.Named("telemetry"))
	})
}

// countRunning tells how many tasks run, with how many GPUs.
func (d *Driver) countRunning() {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, gpus := 0, 0
	for _, h := range d.tasks {
		if h.running() {
			n++
			gpus += len(reservedIDs(h.cfg.DeviceEnv, h.cfg.Env))
		}
	}
	d.numbers.Running(n, gpus)
}

// failureReason sorts what StartTask returns.
func failureReason(err error) string {
	var e *startError
	switch {
	case !errors.As(err, &e):
		return telemetry.Other
	case e.launch:
		return telemetry.Launch
	case e.again:
		return telemetry.NotReady
	}
	return telemetry.Config
}

// howEnded sorts outcomes.
func howEnded(o outcome) string {
	switch {
	case o.Lost != nil:
		return telemetry.Lost
	case o.OOM:
		return telemetry.OOM
	case o.StopAsked && o.killed():
		return telemetry.Killed
	case o.StopAsked:
		return telemetry.Stopped
	}
	return telemetry.Failed
}
