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
	silent := false
	err := cn.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		_, secure := cn.nc.(*tls.Conn)
		// TLS speaks for itself: session tickets may lie there.
		silent = err == syscall.EAGAIN || secure && n > 0
		return true
	})
	return err == nil && silent
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
