package driver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/shared/structs"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

const (
	fingerprintPeriod = 30 * time.Second
	// missingPeriod is how often a node without its engine is looked at: what
	// was mended takes tasks again within seconds.
	missingPeriod = 3 * time.Second
	pluginName    = "nomad-driver-vllm" // of the binary, as an agent's config has it
)

// Fingerprint implements drivers.DriverPlugin.
func (d *Driver) Fingerprint(ctx context.Context) (<-chan *drivers.Fingerprint, error) {
	d.openTelemetry()
	ch := make(chan *drivers.Fingerprint)
	go func() {
		defer close(ch)
		next := time.NewTimer(0)
		defer next.Stop()
		sent := map[string]bool{}
		for {
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			case <-d.ctx.Done():
				return
			}
			f := d.fingerprint()
			d.countRunning() // a sink forgets what it has not heard for a while
			withdraw(f.Attributes, sent)
			select {
			case ch <- f:
			case <-ctx.Done():
				return
			case <-d.ctx.Done():
				return
			}
			next.Reset(periodAfter(f.Health))
		}
	}()
	return ch, nil
}

func periodAfter(h drivers.HealthState) time.Duration {
	if h == drivers.HealthStateUnhealthy {
		return missingPeriod
	}
	return fingerprintPeriod
}

// withdraw takes back what was sent earlier and is no longer there: a node
// keeps an attribute until it is told that it is empty.
func withdraw(attributes map[string]*structs.Attribute, sent map[string]bool) {
	for name := range attributes {
		sent[name] = true
	}
	for name := range sent {
		if attributes[name] == nil {
			attributes[name] = structs.NewStringAttribute("")
		}
	}
}

// fingerprint looks at the node. Without one of its engines the driver is there
// but unhealthy: the node gets no tasks, and says why.
func (d *Driver) fingerprint() *drivers.Fingerprint {
	f := &drivers.Fingerprint{
		Attributes: map[string]*structs.Attribute{
			"driver.vllm":         structs.NewBoolAttribute(true),
			"driver.vllm.version": structs.NewStringAttribute(Version),
		},
		Health: drivers.HealthStateHealthy, HealthDescription: drivers.DriverHealthy,
	}
	d.fingerprintLimits(f)
	var missing []string
	engines := d.config().runtimes()
	for _, name := range slices.Sorted(maps.Keys(engines)) {
		if err := d.fingerprintRuntime(f.Attributes, name, engines[name]); err != nil {
			missing = append(missing, err.Error())
		}
	}
	if len(missing) > 0 {
		f.Health, f.HealthDescription = drivers.HealthStateUnhealthy, strings.Join(missing, "; ")
	}
	return f
}

// fingerprintRuntime adds what is known of one engine, or says what is missing.
func (d *Driver) fingerprintRuntime(to map[string]*structs.Attribute, name string, r Runtime) error {
	prefix := "driver.vllm.runtime." + name + "."
	path, err := shim.LookPath(r.Command, envList(r.Env), "/")
	to[prefix+"healthy"] = structs.NewBoolAttribute(err == nil)
	if err != nil && name == defaultRuntime {
		return fmt.Errorf("engine: %w, or set command in plugin %q { config { } }", err, pluginName)
	}
	if err != nil {
		return fmt.Errorf("runtime %q: %w; install it there, or correct or remove runtime %q in plugin %q { config { } }", name, err, name, pluginName)
	}
	to[prefix+"command"] = structs.NewStringAttribute(path)
	if name == defaultRuntime {
		to["driver.vllm.command"] = structs.NewStringAttribute(path)
	}
	for pkg, v := range d.packages.of(path, r.python()) {
		to[prefix+pkg] = structs.NewStringAttribute(constraintVersion(v))
	}
	return nil
}
