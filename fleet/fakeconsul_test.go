package fleet

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// fakeConsul serves /v1/health/service/NAME with real blocking semantics: a
// query with an index waits until the state moves past it.
type fakeConsul struct {
	*httptest.Server
	mu       sync.Mutex
	moved    chan struct{} // closed at every change
	index    uint64
	entries  map[string][]*api.ServiceEntry
	fail     int // status to answer with, 0 for none
	stale    time.Duration
	filtered bool
	seen     []query
}

// query is what one request asked for.
type query struct {
	service string
	index   uint64
	stale   bool
	passing bool
}

func newFakeConsul(t *testing.T) *fakeConsul {
	f := &fakeConsul{moved: make(chan struct{}), index: 10, entries: map[string][]*api.ServiceEntry{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections)
	return f
}

// set changes the state under the lock and wakes blocked queries.
func (f *fakeConsul) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.moved)
	f.moved = make(chan struct{})
}

// put replaces a service's entries and moves the index on.
func (f *fakeConsul) put(name string, entries ...*api.ServiceEntry) {
	f.set(func() { f.entries[name] = entries; f.index++ })
}

func (f *fakeConsul) queries() []query {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]query(nil), f.seen...)
}

func (f *fakeConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, err := time.ParseDuration(q.Get("wait"))
	if err != nil {
		wait = 5 * time.Minute
	}
	name := r.URL.Path[len("/v1/health/service/"):]
	f.mu.Lock()
	f.seen = append(f.seen, query{name, index, q.Has("stale"), q.Has("passing")})
	deadline := time.After(wait)
	for index > 0 && f.index == index && f.fail == 0 {
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-r.Context().Done():
			return
		case <-deadline:
			index = 0
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	if f.fail != 0 {
		http.Error(w, "No cluster leader", f.fail)
		return
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(f.index, 10))
	w.Header().Set("X-Consul-KnownLeader", "true")
	contact := time.Duration(0)
	if q.Has("stale") {
		contact = f.stale
	}
	w.Header().Set("X-Consul-LastContact", strconv.FormatInt(contact.Milliseconds(), 10))
	if f.filtered {
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
	entries := f.entries[name]
	if entries == nil {
		entries = []*api.ServiceEntry{}
	}
	_ = json.NewEncoder(w).Encode(entries)
}

// entry is a healthy instance as Nomad registers one.
func entry(node, id, role string, change ...func(*api.ServiceEntry)) *api.ServiceEntry {
	e := &api.ServiceEntry{
		Node: &api.Node{Node: node, Address: "10.0.0.1"},
		Service: &api.AgentService{
			ID: id, Service: "vllm", Address: "10.0.0.7", Port: 23145,
			Tags: []string{"pd.role=" + role, "other"},
			Meta: map[string]string{"pd_model": "m", "external-source": "nomad"},
		},
		Checks: api.HealthChecks{
			{CheckID: "serfHealth", Name: "Serf Health Status", Status: api.HealthPassing},
			{CheckID: "c:" + id, Name: "health", Status: api.HealthPassing},
		},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func newConsul(t *testing.T, f *fakeConsul, services ...string) *Consul {
	c, err := NewConsul(ConsulConfig{Address: f.URL, Services: services, MinDelay: time.Millisecond}, hclog.NewNullLogger())
	require.NoError(t, err)
	return c
}
