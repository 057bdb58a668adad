package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
)

// View is what the router knows of its instances at the moment of a scrape.
type View struct {
	Instances []Instance
	// Age of the snapshot; negative if there is none yet.
	Age time.Duration
	// Running and Queued are the requests that were let in, and that wait for that.
	Running, Queued int
}

// Instance is one instance's state and load.
type Instance struct {
	ID           string
	Model        string // that it is registered for, empty: none
	Role         pd.Role
	Usable       bool
	Prefills     int
	PrefillBytes int64
	Decodes      int
	Breaker      breaker.State
	Share        float64 // of its fair share that it gets
}

// instances turns a View into gauges at each scrape.
type instances struct{ view func() View }

type descs struct{ count, inFlight, bytes, age, queue, depth, breaker, share *prometheus.Desc }

func newDescs() descs {
	return descs{
		count:    prometheus.NewDesc("pd_router_instances", "Instances by role and whether requests may go there.", []string{"role", "usable"}, nil),
		inFlight: prometheus.NewDesc("pd_router_instance_in_flight", "Requests of this router at an instance, by leg.", []string{"instance", "role", "leg"}, nil),
		bytes:    prometheus.NewDesc("pd_router_instance_prefill_bytes", "Request bytes of this router in leg 1 at an instance.", []string{"instance", "role"}, nil),
		queue:    prometheus.NewDesc("pd_router_queue_requests", "Requests that were let in (running) and that wait for it (waiting).", []string{"state"}, nil),
		depth:    prometheus.NewDesc("pd_router_queue_depth", "Requests of this router at the instances of a model, queued there or running, by the role in which they are there.", []string{"model", "role"}, nil),
		breaker:  prometheus.NewDesc("pd_router_breaker_state", "1 for the state that an instance's breaker is in: closed, open (it gets no requests) or half_open (one at a time).", []string{"instance", "state"}, nil),
		share:    prometheus.NewDesc("pd_router_instance_share", "Part of its fair share that an instance gets: its weight, less while it starts.", []string{"instance"}, nil),
		age:      prometheus.NewDesc("pd_router_snapshot_age_seconds", "Time since the list of instances was confirmed; absent until there is one, 0 for a fixed list.", nil, nil),
	}
}

// place is where requests are.
type place struct {
	model string
	role  pd.Role
}

// depth counts them: the legs at each model's instances. Whoever serves both
// roles counts in both, with what it does in each.
func (v View) depth() map[place]int {
	out := map[place]int{}
	for _, i := range v.Instances {
		out[place{i.Model, pd.RolePrefill}] += i.Prefills
		out[place{i.Model, pd.RoleDecode}] += i.Decodes
	}
	return out
}

// Describe says nothing, which makes this an unchecked collector: the set of
// series depends on who is there.
func (c *instances) Describe(chan<- *prometheus.Desc) {}

// Collect reads the view once.
func (c *instances) Collect(ch chan<- prometheus.Metric) {
	d, v := newDescs(), c.view()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if v.Age >= 0 {
		gauge(d.age, v.Age.Seconds())
	}
	gauge(d.queue, float64(v.Running), "running")
	gauge(d.queue, float64(v.Queued), "waiting")
	count := map[pd.Role][2]int{pd.RolePrefill: {}, pd.RoleDecode: {}, pd.RoleBoth: {}}
	for at, n := range v.depth() {
		gauge(d.depth, float64(n), at.model, string(at.role))
	}
	for _, i := range v.Instances {
		n := count[i.Role]
		if i.Usable {
			n[1]++
		} else {
			n[0]++
		}
		count[i.Role] = n
		gauge(d.share, i.Share, i.ID)
		for _, s := range breaker.States() {
			is := 0.0
			if s == i.Breaker {
				is = 1
			}
			gauge(d.breaker, is, i.ID, string(s))
		}
		if i.Role.Prefills() {
			gauge(d.inFlight, float64(i.Prefills), i.ID, string(i.Role), LegPrefill)
			gauge(d.bytes, float64(i.PrefillBytes), i.ID, string(i.Role))
		}
		if i.Role.Decodes() {
			gauge(d.inFlight, float64(i.Decodes), i.ID, string(i.Role), LegDecode)
		}
	}
	for role, n := range count {
		for usable, x := range n {
			gauge(d.count, float64(x), string(role), strconv.FormatBool(usable == 1))
		}
	}
}
