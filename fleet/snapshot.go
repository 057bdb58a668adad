package fleet

import (
	"slices"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// Instance is one vLLM server as it was registered. It is immutable.
type Instance struct {
	// ID is unique in the fleet and stable while the server lives: Consul
	// node and service ID, or the URL of a fixed address.
	ID string
	// URL is the base of the HTTP API, "http://10.0.0.7:23145", without a
	// trailing slash.
	URL  string
	Role pd.Role
	Meta pd.Meta
	// Unusable says why no new request may go there (a critical check,
	// maintenance, bad meta); empty means usable.
	Unusable string
}

// Key is an instance's identity: an ID that comes back at another address is
// another server.
type Key struct{ ID, URL string }

// Key tells the instance from others and from its successors.
func (i *Instance) Key() Key { return Key{i.ID, i.URL} }

// Usable reports whether new requests may be sent to the instance.
func (i *Instance) Usable() bool { return i.Unusable == "" }

// Snapshot is one consistent view of the fleet, sorted by instance ID.
// Neither it nor what it points to is ever changed.
type Snapshot struct {
	Instances []*Instance
	// At is when the source last confirmed this view. An old one means that
	// the source cannot be reached and the last good view is being kept. Zero
	// means a fixed list, which never gets old.
	At time.Time
}

// NewSnapshot sorts the instances into canonical order; it takes ownership of the slice.
func NewSnapshot(instances []*Instance, at time.Time) *Snapshot {
	slices.SortFunc(instances, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
	return &Snapshot{Instances: instances, At: at}
}
