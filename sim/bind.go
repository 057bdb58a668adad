package sim

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// bound is a TCP port that is taken and does not listen yet. vLLM takes its
// port before it loads the model and listens when it has: until then
// connections are refused, and nobody else can get the port.
type bound struct {
	fd   int
	host string
}

// bind takes a port; 0 is the system's choice.
func bind(host string, port int) (*bound, error) {
	addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	family, sa := syscall.AF_INET6, syscall.Sockaddr(nil)
	if ip4 := addr.IP.To4(); ip4 != nil || addr.IP == nil {
		family = syscall.AF_INET
		in := &syscall.SockaddrInet4{Port: port}
		copy(in.Addr[:], ip4)
		sa = in
	} else {
		in := &syscall.SockaddrInet6{Port: port}
		copy(in.Addr[:], addr.IP.To16())
		sa = in
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	// A port that was named may be one that a killed server had a moment ago.
	// One of the system's choice is not shared: while it does not listen, the
	// system would give it to another that asks with the same option.
	if port != 0 {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = syscall.Bind(fd, sa)
	}
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("bind %s:%d: %w", host, port, err)
	}
	return &bound{fd: fd, host: host}, nil
}

// listen starts listening; the bound port is used up, whatever happens.
func (b *bound) listen() (net.Listener, error) {
	f := os.NewFile(uintptr(b.fd), "listener")
	defer f.Close() // FileListener works on a copy
	if err := syscall.Listen(b.fd, syscall.SOMAXCONN); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return net.FileListener(f)
}

func (b *bound) close() { syscall.Close(b.fd) }
