package driver

import (
	"errors"
	"time"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// storyLimit is how long the last event of a task waits for those before it.
const storyLimit = time.Second

// tell passes on what the engine's log tells, until the task ends. The shim
// remembers how far that came, so that a restarted plugin does not repeat it.
func (d *Driver) tell(h *handle) {
	seq := 0
	for {
		list, err := h.client.Notes(d.ctx, seq)
		var refused *shim.Refused
		if d.ctx.Err() != nil || errors.As(err, &refused) || err == nil && len(list) == 0 {
			return // refused: by a shim of a version that keeps none
		}
		for _, n := range list {
			d.eventAt(h.cfg, n.Text, n.At)
			if n.Ready > 0 {
				d.numbers.Ready(n.Ready)
			}
			seq = n.Seq
		}
		if err == nil {
			continue
		}
		select {
		case <-h.done:
			return
		case <-d.ctx.Done():
			return
		case <-time.After(askAgain):
		}
	}
}
