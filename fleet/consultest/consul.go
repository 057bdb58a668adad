// Package consultest is a Consul for tests and drills: the health endpoint of
// its HTTP API with real blocking semantics, over a state that is set from
// outside, and with what a real one does when it is unwell.
//
// It starts no goroutine; net/http's call it, and its methods may be called
// from any.
package consultest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Check states of an instance.
const (
	Passing  = "passing"
	Critical = "critical"
	// Maintenance is a passing instance that an operator has taken out.
	Maintenance = "maintenance"
)

// Instance is one registered service instance.
type Instance struct {
	ID   string
	Host string
	Port int
	// Role is the value of the pd.role tag.
	Role string
	Meta map[string]string
	// Check is its state; empty: Passing.
	Check string
}

// Consul answers /v1/health/service/NAME. The zero Consul has nobody; serve it
// with net/http.
type Consul struct {
	mu     sync.Mutex
	moved  chan struct{} // closed at every change
	index  uint64
	leader []Instance // what the leader knows
	behind *[]Instance
	by     time.Duration // how far
	down   bool
}

// Set is what all servers know from now on.
func (c *Consul) Set(instances ...Instance) {
	c.change(func() { c.leader, c.behind = instances, nil })
}

// SetBehind makes the answering server one that lags: it tells those instances
// to whoever does not insist on the leader's word, and that it heard of the
// leader that long ago.
func (c *Consul) SetBehind(by time.Duration, instances ...Instance) {
	c.change(func() { c.behind, c.by = &instances, by })
}

// SetDown makes every answer an error, as without a leader, or ends that.
func (c *Consul) SetDown(down bool) { c.change(func() { c.down = down }) }

func (c *Consul) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.index++
	if c.moved != nil {
		close(c.moved)
	}
	c.moved = make(chan struct{})
}

// ServeHTTP waits as a blocking query does, and answers.
func (c *Consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !c.await(r, q.Get("index"), q.Get("wait")) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	}
	say, age := c.leader, time.Duration(0)
	if c.behind != nil && q.Has("stale") {
		say, age = *c.behind, c.by
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Consul-Index", strconv.FormatUint(c.index+1, 10))
	h.Set("X-Consul-KnownLeader", "true")
	h.Set("X-Consul-LastContact", strconv.FormatInt(age.Milliseconds(), 10))
	entries := []any{}
	for _, i := range say {
		entries = append(entries, i.entry(strings.TrimPrefix(r.URL.Path, "/v1/health/service/")))
	}
	_ = json.NewEncoder(w).Encode(entries) // the client may be gone
}

// await returns when the state is past the index, or the wait is over; false
// when the client has gone.
func (c *Consul) await(r *http.Request, index, wait string) bool {
	limit, err := time.ParseDuration(wait)
	if err != nil {
		limit = 5 * time.Minute
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	for {
		c.mu.Lock()
		if c.moved == nil {
			c.moved = make(chan struct{})
		}
		moved, same := c.moved, index == strconv.FormatUint(c.index+1, 10) && !c.down
		c.mu.Unlock()
		if !same {
			return true
		}
		select {
		case <-moved:
		case <-over.C:
			return true
		case <-r.Context().Done():
			return false
		}
	}
}

// entry is the instance as Consul words it.
func (i Instance) entry(service string) map[string]any {
	type object = map[string]any
	checks := []object{
		{"CheckID": "serfHealth", "Name": "Serf Health Status", "Status": Passing},
		{"CheckID": "health:" + i.ID, "Name": "health", "Status": Passing},
	}
	switch i.Check {
	case Critical:
		checks[1]["Status"], checks[1]["Output"] = Critical, "HTTP GET /health: 503"
	case Maintenance:
		checks = append(checks, object{"CheckID": "_service_maintenance:" + i.ID, "Name": "Service Maintenance Mode", "Status": Critical, "Notes": "drill"})
	}
	return object{
		"Node":    object{"Node": "n1", "Address": i.Host},
		"Service": object{"ID": i.ID, "Service": service, "Address": i.Host, "Port": i.Port, "Tags": []string{fmt.Sprintf("pd.role=%s", i.Role)}, "Meta": i.Meta},
		"Checks":  checks,
	}
}
