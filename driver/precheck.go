package driver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// Before the engine starts, the driver looks whether what its settings name is
// there: an engine finds out only after it has loaded its libraries for a
// minute, and tells it in a traceback.

const (
	// hostLimit is how long all names of a task together may take to resolve:
	// Nomad cannot stop a task that is still being started.
	hostLimit = 2 * time.Second
	// fileLimit is the same for its files. Only a network file system whose
	// server is gone takes that long, and the engine would hang on it.
	fileLimit = 5 * time.Second
)

// wants is what a plan needs that lies outside of it.
type wants struct {
	Paths []wantedPath
	Hosts []wantedHost
}

// prober looks. Its fields are the outside world.
type prober struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// local says whether one may listen on an address here.
	local                func(netip.Addr) error
	hostLimit, fileLimit time.Duration
}

func newProber() prober {
	return prober{lookup: resolver{net.DefaultResolver}.lookup, local: listenable, hostLimit: hostLimit, fileLimit: fileLimit}
}

// check returns everything that is missing. With nothing to look at it does nothing.
func (p prober) check(ctx context.Context, w wants, spec shim.Spec, userName string) error {
	if len(w.Hosts) == 0 {
		return p.checkPaths(w.Paths, spec, userName)
	}
	hosts := make(chan error, 1)
	go func() { hosts <- p.checkHosts(ctx, w.Hosts) }()
	return errors.Join(p.checkPaths(w.Paths, spec, userName), <-hosts)
}
