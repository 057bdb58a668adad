package handoff

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// DefaultLease is vLLM's kv_lease_duration: how long a prefill keeps a prompt's
// KV for a decode that has not asked for it.
const DefaultLease = 30 * time.Second

// Ledger knows which engine each instance is, from what it handed over before.
// It is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	engines map[fleet.Key]engine
}

// engine is an instance's identity and when it was learned.
type engine struct {
	id    string // without the data-parallel rank
	since time.Time
}

// maxEngines bounds the ledger: an instance that is gone for good leaves its
// line behind, and what is forgotten is merely learned again.
const maxEngines = 4096

// NewLedger is empty.
func NewLedger() *Ledger { return &Ledger{engines: map[fleet.Key]engine{}} }

// Check refuses a handoff that names another engine, or another side channel,
// than the prefill's own. connected is when the connection that the answer came
// over was opened.
//
// An instance that restarts becomes another engine, and its old connections
// break. So a connection that is older than what was learned last belongs to
// the engine that was learned, and a name that differs is another's. restarted:
// it is now known by another engine.
func (l *Ledger) Check(p *fleet.Instance, g Given, connected time.Time) (restarted bool, err error) {
	if err := address(p, g); err != nil {
		return false, err
	}
	id, _, _ := strings.Cut(g.EngineID, "_dp") // each data-parallel rank is an engine of its own
	key := p.Key()
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.engines[key]
	switch {
	case ok && known.id == id:
		return false, nil
	case ok && connected.Before(known.since):
		return false, &RefusedError{Why: RefusedEngine, Detail: fmt.Sprintf("remote_engine_id is %q, the instance's was %q before on a connection that is still open", g.EngineID, known.id)}
	case !ok && len(l.engines) >= maxEngines:
		clear(l.engines)
	}
	l.engines[key] = engine{id: id, since: time.Now()}
	return ok, nil
}

// address checks the side channel against what the instance has registered.
func address(p *fleet.Instance, g Given) error {
	refuse := func(format string, args ...any) error {
		return &RefusedError{Why: RefusedAddress, Detail: fmt.Sprintf(format, args...)}
	}
	// An IPv4 address that is written as an IPv6 one is connected to as IPv4.
	if ip, err := netip.ParseAddr(g.Host); err == nil && (ip.Unmap().IsUnspecified() || ip.Unmap().IsMulticast()) {
		return refuse("remote_host is %s, which is no address to connect to; set VLLM_NIXL_SIDE_CHANNEL_HOST", g.Host)
	}
	first := p.Meta.SideChannelPort
	if last := first + max(1, p.Meta.DPSize) - 1; first != 0 && (g.Port < first || g.Port > last) {
		return refuse("remote_port is %d, the instance registered %d to %d", g.Port, first, last)
	}
	return nil
}

// Reaches reports whether a decode can reach the side channel that was handed
// over: one on the loopback is another server's on another host.
func (g Given) Reaches(p, d *fleet.Instance) bool {
	return !loopback(g.Host) || host(p) == host(d)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// host is an instance's host, one word for all loopback addresses.
func host(i *fleet.Instance) string {
	_, rest, _ := strings.Cut(i.URL, "://")
	authority, _, _ := strings.Cut(rest, "/")
	name := authority
	if at := strings.LastIndexByte(authority, ':'); at > strings.LastIndexByte(authority, ']') {
		name = authority[:at]
	}
	name = strings.Trim(name, "[]")
	if loopback(name) {
		return "localhost"
	}
	return name
}

// Lease is how long after a prefill's answer its handoff may still be sent to a
// decode. The decode must have begun to renew the lease before it is over, so
// some of it is kept back.
func Lease(p *fleet.Instance) time.Duration {
	lease := p.Meta.KVLease
	if lease == 0 {
		lease = DefaultLease
	}
	return lease - min(5*time.Second, lease/4)
}
