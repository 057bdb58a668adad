package upstream

import "golang.org/x/sys/unix"

// acknowledged is how many bytes the server's system has confirmed since the
// connection was opened.
func (cn *conn) acknowledged() (bytes uint64, ok bool) {
	if cn.host.tls || cn.tcp == nil {
		return 0, false // TLS's own records are not counted in sent
	}
	raw, err := cn.tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			bytes, ok = info.Bytes_acked, true
		}
	})
	return bytes, ok && err == nil
}
