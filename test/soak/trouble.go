package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet/consultest"
)

// Who makes trouble: a goroutine each, until its context ends. Each puts right
// what it did before it does the next thing, and leaves everything right.

// killer ends simulators and starts them again, one at a time.
func (d *drill) killer(ctx context.Context, dice *rand.Rand) {
	for pause(ctx, between(dice, 500, 2500)) {
		s := d.stands[dice.IntN(len(d.stands))]
		switch dice.IntN(4) {
		case 0: // kill -9, and the address refuses until it is back
			s.refuse()
			s.sim.stop(syscall.SIGKILL)
			d.tally.count("kill -9 and restart")
			pause(ctx, between(dice, 0, 1500))
		case 1: // kill -9: connections break, until the supervisor has it back
			s.sim.stop(syscall.SIGKILL)
			d.tally.count("kill -9")
			pause(ctx, between(dice, 0, 500))
		case 2: // as Nomad does
			s.sim.stop(syscall.SIGTERM)
			d.tally.count("SIGTERM and restart")
		default:
			s.sim.signal(syscall.SIGSTOP)
			d.tally.count("SIGSTOP, SIGCONT")
			pause(ctx, between(dice, 100, 4000))
			s.sim.signal(syscall.SIGCONT)
		}
		d.revive(s)
	}
}

// revive brings a stand back.
func (d *drill) revive(s *stand) {
	if _, err := s.sim.start(); err != nil {
		d.tally.lost("drill: %v", err)
	}
	_ = await(context.Background(), s.simURL+"/health") // it says by /sim/state at the end if it is not back
	if err := s.listen(); err != nil {
		d.tally.lost("drill: %v", err)
	}
}

// spoiler sets a fault at a stand for a while.
func (d *drill) spoiler(ctx context.Context, dice *rand.Rand) {
	var names []string
	for name := range faults {
		names = append(names, name)
	}
	slices.Sort(names)
	for pause(ctx, between(dice, 50, 400)) {
		s := d.stands[dice.IntN(len(d.stands))]
		fault := names[dice.IntN(len(names))]
		if only := faults[fault]; only != "" && only != s.role {
			continue
		}
		s.set(fault)
		d.tally.count("spoiled: " + fault)
		pause(ctx, between(dice, 50, 800))
		s.set("")
	}
}

// scripter has simulators themselves fail, by VLLM_SIM_FAULTS' means; those
// that end of it are started again.
func (d *drill) scripter(ctx context.Context, dice *rand.Rand) {
	scripts := []string{"die@1", "engine@1", "cut@1=2", "cut@1..5=1", "slow@1..3=400ms", "hang@1", "500@1..2", "503@1..2"}
	for pause(ctx, between(dice, 500, 2000)) {
		s := d.stands[dice.IntN(len(d.stands))]
		script := scripts[dice.IntN(len(scripts))]
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.simURL+"/sim/faults", strings.NewReader(script))
		if err != nil {
			continue
		}
		quick, cancel := context.WithTimeout(ctx, time.Second)
		if resp, err := http.DefaultClient.Do(req.WithContext(quick)); err == nil {
			resp.Body.Close()
			d.tally.count("scripted: " + script)
		}
		cancel()
	}
}

// supervisor starts simulators that ended by themselves.
func (d *drill) supervisor(ctx context.Context, _ *rand.Rand) {
	for pause(ctx, 100*time.Millisecond) {
		for _, s := range d.stands {
			if started, _ := s.sim.start(); started {
				d.tally.count("simulators restarted by the supervisor")
			}
		}
	}
}

// flapper has Consul lie, be away and tell of instances that come and go.
func (d *drill) flapper(ctx context.Context, dice *rand.Rand) {
	for pause(ctx, between(dice, 200, 1500)) {
		all := d.registered()
		switch kind := dice.IntN(7); kind {
		case 0:
			d.consul.SetDown(true)
			d.tally.count("consul: errors")
		case 1:
			d.consul.SetBehind(time.Minute, all[:dice.IntN(len(all))]...)
			d.tally.count("consul: lags")
		case 2:
			d.consul.Set()
			d.tally.count("consul: nobody")
		default:
			n := dice.IntN(len(all))
			switch kind {
			case 3:
				all[n].Check = consultest.Critical
			case 4:
				all[n].Check = consultest.Maintenance
			case 5:
				all[n].Meta = map[string]string{"pd_dp_size": "many"}
			default:
				all = slices.Delete(all, n, n+1)
			}
			d.consul.Set(all...)
			d.tally.count("consul: one taken out")
		}
		pause(ctx, between(dice, 50, 1500))
		d.consul.SetDown(false)
		d.consul.Set(d.registered()...)
	}
}

func between(dice *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+dice.IntN(high-low)) * time.Millisecond
}
