package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// View is what the router knows of its instances at the moment of a scrape.
type View struct {
	Instances []Instance
	// Age of the snapshot; negative if there is none yet.
	Age time.Duration
}

// Instance is one instance's state and load.
type Instance struct {
	ID           string
	Role         pd.Role
	Usable       bool
	Prefills     int
	PrefillBytes int64
	Decodes      int
}

// instances turns a View into gauges at each scrape.
type instances struct{ view func() View }

type descs struct{ count, inFlight, bytes, age *prometheus.Desc }

func newDescs() descs {
	return descs{
		count:    prometheus.NewDesc("pd_router_instances", "Instances by role and whether requests may go there.", []string{"role", "usable"}, nil),
		inFlight: prometheus.NewDesc("pd_router_instance_in_flight", "Requests of this router at an instance, by leg.", []string{"instance", "role", "leg"}, nil),
		bytes:    prometheus.NewDesc("pd_router_instance_prefill_bytes", "Request bytes of this router in leg 1 at an instance.", []string{"instance", "role"}, nil),
		age:      prometheus.NewDesc("pd_router_snapshot_age_seconds", "Time since the list of instances was confirmed; absent until there is one, 0 for a fixed list.", nil, nil),
	}
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
	count := map[pd.Role][2]int{pd.RolePrefill: {}, pd.RoleDecode: {}, pd.RoleBoth: {}}
	for _, i := range v.Instances {
		n := count[i.Role]
		if i.Usable {
			n[1]++
		} else {
			n[0]++
		}
		count[i.Role] = n
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
