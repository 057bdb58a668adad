package http1

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reads gives a Conn that gets the parts one after the other.
func reads(t *testing.T, parts ...string) *Conn {
	ours, theirs := net.Pipe()
	go func() {
		for _, p := range parts {
			if _, err := io.WriteString(theirs, p); err != nil {
				return
			}
		}
		theirs.Close()
	}()
	t.Cleanup(func() { ours.Close() })
	return New(ours)
}

func TestConn_readsMessagesCutAnywhere(t *testing.T) {
	const two = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y:  z \r\n\r\nhello" +
		"HTTP/1.1 404 Not Found\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n"
	for cut := range two {
		c := reads(t, two[:cut], two[cut:])
		h, err := c.ReadHead()
		require.NoError(t, err)
		require.Equal(t, 200, h.Status())
		require.Equal(t, "z", string(h.Get("x-y")))
		require.Nil(t, h.Get("x"))
		b, err := c.Body(h)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b))
		h, err = c.ReadHead()
		require.NoError(t, err)
		require.Equal(t, 404, h.Status())
		b, err = c.Body(h)
		require.NoError(t, err)
		require.Equal(t, "abc0123456789", string(b))
		_, err = c.ReadHead()
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestConn_saysWhatWasCut(t *testing.T) {
	for _, message := range []string{
		"HTTP/1.1 200 OK\r\nContent-Le",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
	} {
		c := reads(t, message)
		h, err := c.ReadHead()
		if err == nil {
			_, err = c.Body(h)
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, message)
	}
}

func TestDechunker_refusesOtherThings(t *testing.T) {
	for _, bad := range []string{"x\r\n", "3\r\nabcd\r\n", "3\r\nabc0\r\n", "0\r\nx", "fffffffff\r\n"} {
		var d Dechunker
		_, err := d.Feed([]byte(bad), func([]byte) error { return nil })
		require.Error(t, err, bad)
	}
}

func TestConn_growsForLargeBodies(t *testing.T) {
	body := strings.Repeat("x", 300<<10)
	c := reads(t, "POST / HTTP/1.1\r\nContent-Length: 307200\r\n\r\n"+body)
	h, err := c.ReadHead()
	require.NoError(t, err)
	require.Equal(t, "POST / HTTP/1.1", string(h.Line()))
	b, err := c.Body(h)
	require.NoError(t, err)
	require.Equal(t, body, string(b))
}

func TestMembers_areRaw(t *testing.T) {
	var got []string
	err := Members([]byte(` {"a" : {"x":[1,{"y":"}"}]} ,"b":"q\"\\","c":[ ], "d":-1.5e3 ,"e":null}`), func(k, v []byte) {
		got = append(got, string(k)+"="+string(v))
	})
	require.NoError(t, err)
	require.Equal(t, []string{`a={"x":[1,{"y":"}"}]}`, `b="q\"\\"`, `c=[ ]`, `d=-1.5e3`, `e=null`}, got)
	require.NoError(t, Members([]byte(`{}`), nil))
	for _, bad := range []string{``, `[]`, `{"a"}`, `{"a":1`, `{"a":"x`, `{"a":{}`, `{a:1}`} {
		require.Error(t, Members([]byte(bad), func(_, _ []byte) {}), bad)
	}
}
