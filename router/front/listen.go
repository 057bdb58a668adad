package front

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen listens on a TCP address.
func Listen(ctx context.Context, address string) (*net.TCPListener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l.(*net.TCPListener), nil
}

// handoverLimit bounds each step of a handover.
const handoverLimit = 5 * time.Second

// Take gets the listener of the router that offers one at the path, nil if
// nobody does. Both then accept from one queue, so no connection is refused or
// reset, until served is called: the other one stops accepting upon it and
// finishes what it has.
func Take(path string) (l *net.TCPListener, served func() error, err error) {
	conn, err := net.DialTimeout("unix", path, handoverLimit)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take over at %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(handoverLimit))
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, nil, fmt.Errorf("take over at %s: %w", path, err)
	}
	if l, err = passed(oob[:n]); err != nil {
		return nil, nil, fmt.Errorf("take over at %s: %w", path, err)
	}
	return l, func() error {
		defer conn.Close()
		_, err := conn.Write([]byte{1})
		return err
	}, nil
}

// passed is the listener that came as a descriptor.
func passed(oob []byte) (*net.TCPListener, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no listener was passed"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no listener was passed"), err)
	}
	unix.CloseOnExec(fds[0])
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("the passed listener is of network %s", l.Addr().Network())
	}
	return tcp, nil
}

// Offer hands the listener to whoever takes it at the path, and calls taken
// once that one serves. It returns at once; stop ends the offer. Only the same
// user may take.
func Offer(path string, l *net.TCPListener, taken func()) (stop func(), err error) {
	// A new name that replaces the old one: a predecessor's offer ends by it.
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(fresh)
	offer, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh})
	if err != nil {
		return nil, fmt.Errorf("offer a takeover in %s: %w", filepath.Dir(path), err)
	}
	offer.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		offer.Close()
		return nil, fmt.Errorf("offer a takeover at %s: %w", path, err)
	}
	go func() {
		for {
			conn, err := offer.AcceptUnix()
			if err != nil {
				return
			}
			if give(conn, l) {
				taken()
			}
			conn.Close()
		}
	}()
	return func() { offer.Close() }, nil
}

// give passes the listener and reports whether the other one serves.
func give(conn *net.UnixConn, l *net.TCPListener) bool {
	_ = conn.SetDeadline(time.Now().Add(handoverLimit))
	f, err := l.File()
	if err != nil {
		return false
	}
	defer f.Close()
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return n == 1 && err == nil
}
