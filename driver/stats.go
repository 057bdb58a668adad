package driver

import (
	"context"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const minStatsInterval = 100 * time.Millisecond

// TaskStats implements drivers.DriverPlugin.
func (d *Driver) TaskStats(ctx context.Context, id string, interval time.Duration) (<-chan *drivers.TaskResourceUsage, error) {
	h, err := d.task(id)
	if err != nil {
		return nil, err
	}
	ch := make(chan *drivers.TaskResourceUsage)
	d.mu.Lock()
	mhz := d.mhz
	d.mu.Unlock()
	go func() {
		defer close(ch)
		m := meter{mhz: mhz, root: h.state.Started.Shim, dirs: h.ownCgroups()}
		tick := time.NewTicker(max(interval, minStatsInterval))
		defer tick.Stop()
		for {
			if u := m.measure(time.Now()); u != nil {
				select {
				case ch <- u:
				case <-ctx.Done():
					return
				case <-h.done:
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			case <-d.ctx.Done():
				return
			case <-h.done:
				return
			}
		}
	}()
	return ch, nil
}
