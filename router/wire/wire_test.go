package wire

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decode takes a body apart in pieces of the given size.
func decode(raw string, size int) (string, bool, error) {
	var c Chunks
	var out strings.Builder
	for rest := []byte(raw); len(rest) > 0 && !c.Done(); {
		piece := bytes.Clone(rest[:min(size, len(rest))])
		n, used, err := c.Decode(piece)
		out.Write(piece[:n])
		if err != nil {
			return out.String(), false, err
		}
		rest = rest[used:]
	}
	return out.String(), c.Done(), nil
}

func TestChunks_anyPieces(t *testing.T) {
	const raw = "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n000\r\nT: v\r\nU:\r\n\r\n"
	for size := 1; size <= len(raw); size++ {
		got, done, err := decode(raw, size)
		require.NoError(t, err)
		require.True(t, done)
		require.Equal(t, "abc0123456789", got)
	}
	for end := range len(raw) {
		_, done, err := decode(raw[:end], 7)
		require.NoError(t, err)
		require.False(t, done, "%q", raw[:end])
	}
}

func TestChunks_leavesWhatFollows(t *testing.T) {
	var c Chunks
	n, used, err := c.Decode([]byte("1\r\nx\r\n0\r\n\r\nNEXT"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, len("1\r\nx\r\n0\r\n\r\n"), used)
}

func TestChunks_badTrailers(t *testing.T) {
	for _, trailer := range []string{"no colon\r\n", ": v\r\n", " T: v\r\n", "T : v\r\n", "T: \x00\r\n", "T: v\n"} {
		_, _, err := decode("0\r\n"+trailer+"\r\n", 100)
		require.ErrorIs(t, err, ErrMalformed, trailer)
	}
}

func TestContentLength_onlyDigits(t *testing.T) {
	for _, s := range []string{"", "+1", "-1", " 1", "1 ", "0x1", "1,1", "99999999999999999999", "１"} {
		_, err := ContentLength(s)
		require.ErrorIs(t, err, ErrMalformed, s)
	}
	n, err := ContentLength("0017")
	require.NoError(t, err)
	require.EqualValues(t, 17, n)
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		got, done, err := decode(string(raw), max(1, size))
		again, doneAgain, errAgain := decode(string(raw), len(raw)+1)
		require.Equal(t, again, got)
		require.Equal(t, doneAgain, done)
		require.Equal(t, errAgain == nil, err == nil)
		if err != nil || !done {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw)))
		require.NoError(t, err, "net/http refuses what we take: %q", raw)
		require.Equal(t, string(want), got)
	})
}
