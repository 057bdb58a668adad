package shim

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReadRequest_refusesWhatIsNone(t *testing.T) {
	for want, sent := range map[string][]byte{
		"read request: read unix @->@: EOF":       []byte(`{"op":"wait"`),
		"read request: longer than 1048576 bytes": bytes.Repeat([]byte("x"), requestLimit+1),
		"read request: invalid character 'x'":     []byte("x\n"),
		"read request: json: cannot unmarshal":    []byte("{\"signal\":\"9\"}\n"),
	} {
		near, far := socketPair(t)
		go func() {
			_, _ = far.Write(sent)
			_ = far.Close()
		}()
		_, files, err := readRequest(near)
		require.ErrorContains(t, err, want)
		require.Empty(t, files)
	}
}

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var conns []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		f.Close()
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c.(*net.UnixConn))
	}
	return conns[0], conns[1]
}

func TestClient_saysThatTheSupervisorIsGone(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadRecord(dir, "t")
	require.ErrorIs(t, err, ErrNoRecord)
	require.EqualError(t, err, "no exit record in "+dir)
	l, err := net.Listen("unix", filepath.Join(dir, socketFile))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, requestLimit))
			c.Close() // as a supervisor that is killed now
		}
	}()
	_, err = Client{Dir: dir}.Status(t.Context())
	require.ErrorContains(t, err, "the task's supervisor hung up")
}
