package socket

import "net"

// WriteParts writes several pieces as one over any connection, as a Conn does
// where it is one. It keeps none of them, but may use up what holds them.
func WriteParts(nc net.Conn, parts ...[]byte) (int64, error) {
	if c, ok := nc.(*Conn); ok {
		return c.WriteParts(parts...)
	}
	v := net.Buffers(parts)
	return v.WriteTo(nc)
}
