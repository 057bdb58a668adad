package front

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen listens on a TCP address. With shared, other processes of the same
// user may listen there as well (SO_REUSEPORT): a new router can start before
// the old one stops, and no connection is refused in between.
func Listen(ctx context.Context, address string, shared bool) (net.Listener, error) {
	var lc net.ListenConfig
	if shared {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if ctlErr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); ctlErr != nil {
				return ctlErr
			}
			return err
		}
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}
