package driver

import (
	"context"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/shared/structs"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

const fingerprintPeriod = 30 * time.Second

// Fingerprint implements drivers.DriverPlugin.
func (d *Driver) Fingerprint(ctx context.Context) (<-chan *drivers.Fingerprint, error) {
	ch := make(chan *drivers.Fingerprint)
	go func() {
		defer close(ch)
		tick := time.NewTicker(fingerprintPeriod)
		defer tick.Stop()
		for {
			select {
			case ch <- d.fingerprint():
			case <-ctx.Done():
				return
			case <-d.ctx.Done():
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			case <-d.ctx.Done():
				return
			}
		}
	}()
	return ch, nil
}

// fingerprint looks at the node. Without the engine the driver is there but
// unhealthy: the node gets no tasks, and says why.
func (d *Driver) fingerprint() *drivers.Fingerprint {
	f := &drivers.Fingerprint{
		Attributes: map[string]*structs.Attribute{
			"driver.vllm":         structs.NewBoolAttribute(true),
			"driver.vllm.version": structs.NewStringAttribute(Version),
		},
		Health: drivers.HealthStateHealthy, HealthDescription: drivers.DriverHealthy,
	}
	d.fingerprintLimits(f)
	path, err := shim.LookPath(d.config().Command, nil, "/")
	if err != nil {
		f.Health = drivers.HealthStateUnhealthy
		f.HealthDescription = "engine: " + err.Error() + ", or set command in plugin \"nomad-driver-vllm\" { config { } }"
		return f
	}
	f.Attributes["driver.vllm.command"] = structs.NewStringAttribute(path)
	for name, v := range versions(path) {
		f.Attributes["driver.vllm.runtime."+defaultRuntime+"."+name] = structs.NewStringAttribute(v)
	}
	return f
}
