package h1

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported reports whether this package can serve here.
const Supported = true

// watch is told by the system when a client closes its side of a connection,
// or resets it: one edge-triggered registration for the connection's life, and
// nothing for each request.
type watch struct {
	epoll *os.File
	fd    int
	done  chan struct{}

	mu    sync.Mutex
	next  uint32
	conns map[uint32]*conn
}

// newWatch starts the goroutine that close ends.
func newWatch() (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("set nonblocking", err)
	}
	// An epoll descriptor can itself be waited for, by the runtime's own poller.
	w := &watch{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{}), conns: map[uint32]*conn{}}
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		_ = w.epoll.Close()
		return nil, err
	}
	go w.run(raw)
	return w, nil
}

func (w *watch) run(raw syscall.RawConn) {
	defer close(w.done)
	events := make([]unix.EpollEvent, 128)
	// It returns when close ends the wait.
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return false // wait until there is more
			}
			for _, e := range events[:n] {
				w.mu.Lock()
				c := w.conns[uint32(e.Fd)]
				w.mu.Unlock()
				if c != nil {
					c.clientGone()
				}
			}
		}
	})
}

// add begins to watch a connection.
func (w *watch) add(c *conn) error {
	tcp, ok := c.nc.(syscall.Conn)
	if !ok {
		return errors.New("no TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.next++
	c.id = w.next
	w.conns[c.id] = c
	w.mu.Unlock()
	var failed error
	err = raw.Control(func(fd uintptr) {
		// The event carries our own number, not the descriptor's, which is used
		// again while an event of its former owner may still be on its way.
		failed = unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.id)})
	})
	return errors.Join(err, os.NewSyscallError("epoll_ctl", failed))
}

// remove forgets a connection; the system does when it is closed.
func (w *watch) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c.id)
}

// close ends the goroutine and waits for it.
func (w *watch) close() {
	_ = w.epoll.Close()
	<-w.done
}
