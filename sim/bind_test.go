package sim

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBind_portIsTakenBeforeItListens(t *testing.T) {
	b, err := bind("127.0.0.1", 0)
	require.NoError(t, err)
	sa, err := syscall.Getsockname(b.fd)
	require.NoError(t, err)
	taken := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}
	_, err = net.ListenTCP("tcp", taken)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	l, err := b.listen()
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
