package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is two ends of one connection.
func pair(t *testing.T) (ours *Conn, theirs *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	other, err := l.Accept()
	require.NoError(t, err)
	ours, err = New(nc.(*net.TCPConn))
	require.NoError(t, err)
	theirs = other.(*net.TCPConn)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func TestConn_carriesWhatIsWrittenHoweverMuch(t *testing.T) {
	ours, theirs := pair(t)
	for _, size := range []int{0, 1, longest, longest + 1, 8 << 20} {
		sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		go func() { _, _ = io.Copy(theirs, io.LimitReader(theirs, int64(size))) }() // an echo
		wrote := make(chan error, 1)
		go func() {
			n, err := ours.Write(sent)
			if err == nil && n != size {
				err = io.ErrShortWrite
			}
			wrote <- err
		}()
		got := make([]byte, size)
		_, err := io.ReadFull(ours, got)
		require.NoError(t, err)
		require.NoError(t, <-wrote)
		require.True(t, bytes.Equal(sent, got), size)
	}
	n, err := ours.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestConn_endsAndErrors(t *testing.T) {
	ours, theirs := pair(t)
	require.NoError(t, theirs.CloseWrite())
	_, err := ours.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)

	require.NoError(t, theirs.SetLinger(0))
	require.NoError(t, theirs.Close())
	_, err = ours.Write([]byte("x"))
	for err == nil { // the reset is on its way
		_, err = ours.Write([]byte("x"))
	}
	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
}

func TestConn_deadlinesEndWaiting(t *testing.T) {
	ours, _ := pair(t)
	require.NoError(t, ours.SetDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := ours.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	require.NoError(t, ours.SetDeadline(time.Now().Add(100*time.Millisecond)))
	for err = nil; err == nil; { // until nothing more fits: nobody reads
		_, err = ours.Write(make([]byte, longest))
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, ours.SetDeadline(time.Time{}))
}

func TestConn_closingEndsWaiting(t *testing.T) {
	ours, _ := pair(t)
	ended := make(chan error, 1)
	go func() { _, err := ours.Read(make([]byte, 1)); ended <- err }()
	require.NoError(t, ours.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)
	_, err := ours.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestConn_quietTellsWhatAnIdleConnectionIs(t *testing.T) {
	ours, theirs := pair(t)
	open, silent := ours.Quiet()
	require.True(t, open)
	require.True(t, silent)
	_, err := theirs.Write([]byte("x"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, silent = ours.Quiet(); return !silent }, 5*time.Second, time.Millisecond)
	open, _ = ours.Quiet()
	require.True(t, open)
	got := make([]byte, 2)
	n, err := ours.Read(got)
	require.NoError(t, err)
	require.Equal(t, 1, n, "nothing was taken")
	require.NoError(t, theirs.Close())
	require.Eventually(t, func() bool { open, silent = ours.Quiet(); return !open && !silent }, 5*time.Second, time.Millisecond)
	require.NoError(t, ours.Close())
	open, _ = ours.Quiet()
	require.False(t, open)
}

func TestConn_writesPiecesAsOne(t *testing.T) {
	ours, theirs := pair(t)
	n, err := ours.WriteParts([]byte("ab"), nil, []byte("cd"))
	require.NoError(t, err)
	require.Equal(t, int64(4), n)
	got := make([]byte, 5)
	m, err := theirs.Read(got)
	require.NoError(t, err)
	require.Equal(t, "abcd", string(got[:m]), "in one packet")
	n, err = ours.WriteParts()
	require.NoError(t, err)
	require.Zero(t, n)
}

// Little room makes the system take pieces in parts, which begin and end anywhere.
func TestConn_writesPiecesWholeHoweverLittleIsTaken(t *testing.T) {
	ours, theirs := pair(t)
	require.NoError(t, ours.SetWriteBuffer(4<<10))
	require.NoError(t, theirs.SetReadBuffer(4<<10))
	var parts [][]byte
	var want []byte
	for n := range maxParts {
		p := bytes.Repeat([]byte{byte(n)}, n)
		parts, want = append(parts, p), append(want, p...)
	}
	for _, parts := range [][][]byte{parts, append(parts, []byte{}), {want, want, want}} {
		sent := bytes.Join(parts, nil)
		wrote := make(chan error, 1)
		go func() {
			n, err := ours.WriteParts(parts...)
			if err == nil && n != int64(len(sent)) {
				err = io.ErrShortWrite
			}
			wrote <- err
		}()
		got := make([]byte, len(sent))
		for have := 0; have < len(got); {
			n, err := theirs.Read(got[have:min(len(got), have+1000)])
			require.NoError(t, err)
			have += n
		}
		require.NoError(t, <-wrote)
		require.True(t, bytes.Equal(sent, got))
	}
	require.NoError(t, ours.Close())
	_, err := ours.WriteParts([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestConn_costsNoGarbage(t *testing.T) {
	ours, theirs := pair(t)
	one := make([]byte, 1)
	parts := [][]byte{one, one}
	allocs := testing.AllocsPerRun(100, func() {
		_, _ = ours.Write(one)
		_, _ = theirs.Read(one)
		_, _ = ours.WriteParts(parts...)
		_, _ = theirs.Read(one)
		_, _ = theirs.Read(one)
		_, _ = theirs.Write(one)
		_, _ = ours.Read(one)
	})
	require.Zero(t, allocs)
}
