package driver

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every
// architecture that Go and CUDA run on.
const clockTick = 10 * time.Millisecond

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
		m := meter{mhz: mhz, root: h.state.Started.Shim}
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

// meter turns the CPU times of a tree of processes into rates.
type meter struct {
	mhz  float64
	root shim.Proc
	at   time.Time
	last map[shim.Proc]cpuTime
}

type cpuTime struct{ user, system uint64 }

// measure looks at every process below the supervisor; nil: there is none.
func (m *meter) measure(now time.Time) *drivers.TaskResourceUsage {
	if !m.root.Alive() {
		return nil
	}
	all, err := shim.Processes()
	if err != nil {
		return nil
	}
	next := map[shim.Proc]cpuTime{}
	pids := map[string]*drivers.ResourceUsage{}
	var sum usage
	elapsed := now.Sub(m.at)
	for _, s := range shim.Descendants(all, m.root.PID) {
		t := cpuTime{s.User, s.System}
		next[s.Proc] = t
		u := usage{rss: s.RSS * uint64(os.Getpagesize())}
		if m.last != nil { // a process that is new since then has all its time since then
			before := m.last[s.Proc]
			u.user = percent(t.user-before.user, elapsed)
			u.system = percent(t.system-before.system, elapsed)
		}
		sum.add(u)
		pids[strconv.Itoa(s.PID)] = u.resource(m.mhz)
	}
	m.last, m.at = next, now
	return &drivers.TaskResourceUsage{ResourceUsage: sum.resource(m.mhz), Timestamp: now.UTC().UnixNano(), Pids: pids}
}

// percent of one core.
func percent(ticks uint64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(time.Duration(ticks)*clockTick) / float64(elapsed) * 100
}

type usage struct {
	user, system float64 // percent of one core
	rss          uint64  // bytes
}

func (u *usage) add(v usage) {
	u.user += v.user
	u.system += v.system
	u.rss += v.rss
}

func (u usage) resource(mhz float64) *drivers.ResourceUsage {
	total := u.user + u.system
	measured := []string{"System Mode", "User Mode", "Percent"}
	if mhz > 0 {
		measured = append(measured, "Total Ticks")
	}
	return &drivers.ResourceUsage{
		MemoryStats: &drivers.MemoryStats{
			RSS: u.rss,
			// The autoscaler's built-in memory queries read this one only.
			Usage:    u.rss,
			Measured: []string{"RSS", "Usage"},
		},
		CpuStats: &drivers.CpuStats{
			UserMode: u.user, SystemMode: u.system, Percent: total,
			TotalTicks: total / 100 * mhz,
			Measured:   measured,
		},
	}
}
