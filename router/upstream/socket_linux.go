package upstream

import (
	"crypto/tls"
	"syscall"

	"golang.org/x/sys/unix"
)

// quiet reports whether an idle connection is still open and silent. One that
// the server has closed, or has said something on that nobody asked for (408
// before closing, or an attack), is not.
func (cn *conn) quiet() bool {
	if cn.raw == nil {
		return true
	}
	if cn.peek == nil {
		_, secure := cn.nc.(*tls.Conn)
		cn.peek = func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), cn.glance[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			// TLS speaks for itself: session tickets may lie there.
			cn.silent = err == syscall.EAGAIN || secure && n > 0
			return true
		}
	}
	cn.silent = false
	return cn.raw.Read(cn.peek) == nil && cn.silent
}

// acknowledged is how many bytes the server's system has confirmed since the
// connection was opened.
func (cn *conn) acknowledged() (bytes uint64, ok bool) {
	if _, secure := cn.nc.(*tls.Conn); secure || cn.raw == nil {
		return 0, false // TLS's own records are not counted in sent
	}
	err := cn.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			bytes, ok = info.Bytes_acked, true
		}
	})
	return bytes, ok && err == nil
}
