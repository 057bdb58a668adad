package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// script is a connection that says what it is told and swallows what is sent.
type script struct {
	net.Conn
	r      io.Reader
	closed bool
}

func (w *script) Read(p []byte) (int, error)  { return w.r.Read(p) }
func (w *script) Write(p []byte) (int, error) { return len(p), nil }
func (w *script) Close() error                { w.closed = true; return nil }
func (w *script) SetDeadline(time.Time) error { return nil }

// answer is a response read whole off the wire.
type answer struct {
	*Response
	body   string
	err    error
	reused bool
}

func readAll(r io.Reader, method string) (answer, error) {
	cn := &conn{nc: &script{r: r}, host: &host{heads: &headPool{}, busy: 1}}
	resp, err := readResponse(cn, method, DefaultMaxHead)
	if err != nil {
		return answer{}, err
	}
	resp.stop = func() bool { return true }
	b, err := io.ReadAll(resp)
	resp.Close()
	reused := !cn.host.unused()
	cn.host.closeIdle(time.Time{})
	if cn.host.timer != nil {
		cn.host.timer.Stop()
	}
	return answer{resp, string(b), err, reused}, nil
}

func TestResponse_wellFormed(t *testing.T) {
	for name, c := range map[string]struct {
		raw, method string
		status      int
		body        string
		reused      bool
	}{
		"length":           {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "POST", 200, "hello", true},
		"empty":            {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "POST", 200, "", true},
		"no phrase":        {"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", "POST", 404, "", true},
		"no phrase at all": {"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", "POST", 404, "", true},
		"chunked":          {"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nt: v\r\n\r\n", "POST", 200, "abc0123456789", true},
		"until close":      {"HTTP/1.1 200 OK\r\n\r\nwhat comes", "POST", 200, "what comes", false},
		"1.0":              {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "POST", 200, "ok", false},
		"connection close": {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", "POST", 200, "ok", false},
		"interim":          {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "POST", 200, "ok", true},
		"204":              {"HTTP/1.1 204 No Content\r\n\r\n", "POST", 204, "", true},
		"304 with length":  {"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", "GET", 304, "", true},
		"head":             {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HEAD", 200, "", true},
		"more than length": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", "POST", 200, "ok", false},
		"more than chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx", "POST", 200, "ok", false},
		"body after 204":   {"HTTP/1.1 204 No\r\n\r\nbody", "POST", 204, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			// However the bytes come in, the answer is the same.
			for _, r := range []io.Reader{strings.NewReader(c.raw), iotest.OneByteReader(strings.NewReader(c.raw)), iotest.DataErrReader(strings.NewReader(c.raw))} {
				got, err := readAll(r, c.method)
				require.NoError(t, err)
				require.NoError(t, got.err)
				require.Equal(t, c.status, got.Status)
				require.Equal(t, c.body, got.body)
				if _, whole := r.(*strings.Reader); whole {
					require.Equal(t, c.reused, got.reused)
				}
			}
		})
	}
}

func TestResponse_malformedIsRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, raw := range map[string]string{
		"not http":                "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"http 2":                  "HTTP/2 200 OK\r\n\r\n",
		"http 1.2":                "HTTP/1.2 200 OK\r\n\r\n",
		"lower case":              "http/1.1 200 OK\r\n\r\n",
		"no status":               "HTTP/1.1\r\n\r\n",
		"short status":            "HTTP/1.1 20 OK\r\n\r\n",
		"long status":             "HTTP/1.1 2000 OK\r\n\r\n",
		"signed status":           "HTTP/1.1 +20 OK\r\n\r\n",
		"status 0":                "HTTP/1.1 099 OK\r\n\r\n",
		"phrase with NUL":         "HTTP/1.1 200 O\x00K\r\n\r\n",
		"two lengths":             ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"the same length twice":   ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"list of lengths":         ok + "Content-Length: 2, 2\r\n\r\nok",
		"signed length":           ok + "Content-Length: +2\r\n\r\nok",
		"negative length":         ok + "Content-Length: -2\r\n\r\nok",
		"hex length":              ok + "Content-Length: 0x2\r\n\r\nok",
		"empty length":            ok + "Content-Length:\r\n\r\nok",
		"huge length":             ok + "Content-Length: 99999999999999999999\r\n\r\nok",
		"length and chunked":      ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"chunked twice":           ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"gzip, chunked":           ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":                ok + "Transfer-Encoding: identity\r\n\r\n",
		"xchunked":                ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunked in 1.0":          "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"space before colon":      ok + "Content-Length : 2\r\n\r\nok",
		"continued line":          ok + "X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
		"first line continued":    ok + " Content-Length: 2\r\n\r\nok",
		"no colon":                ok + "Content-Length\r\n\r\n",
		"no name":                 ok + ": x\r\n\r\n",
		"name with a space":       ok + "A B: x\r\n\r\n",
		"value with NUL":          ok + "A: x\x00\r\n\r\n",
		"value with CR":           ok + "A: x\rContent-Length: 2\r\n\r\nok",
		"value with LF":           ok + "A: x\nContent-Length: 2\r\n\r\nok",
		"bare line feeds":         "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"switching protocols":     "HTTP/1.1 101 Switching\r\n\r\n",
		"endless interim":         strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 100) + ok + "\r\n",
		"endless head":            ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100),
		"too many fields":         ok + strings.Repeat("X: y\r\n", 129) + "\r\n",
		"empty":                   "",
		"cut":                     ok + "Content-Le",
		"chunk size missing":      ok + "Transfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
		"chunk size signed":       ok + "Transfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n",
		"chunk size 0x":           ok + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
		"chunk size with a space": ok + "Transfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
		"chunk size too large":    ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 16) + "\r\nok\r\n0\r\n\r\n",
		"chunk size then LF":      ok + "Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
		"chunk too short":         ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nok\r\n0\r\n\r\n",
		"chunk too long":          ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n",
		"chunk ended by LF":       ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\n0\r\n\r\n",
		"endless extension":       ok + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 1000) + "\r\nok\r\n0\r\n\r\n",
		"LF in an extension":      ok + "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\nok\r\n0\r\n\r\n",
		"endless trailer":         ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n",
		"LF in a trailer":         ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
		"chunks without an end":   ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"length not reached":      ok + "Content-Length: 3\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(raw), iotest.OneByteReader(strings.NewReader(raw))} {
				got, err := readAll(r, http.MethodPost)
				if err == nil {
					err = got.err
				}
				require.Error(t, err)
				require.False(t, got.reused)
			}
		})
	}
}

// Each end of the connection but the last leaves an error, never a whole answer.
func TestResponse_cutAtEachByte(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\nT: v\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
	} {
		for end := range len(raw) {
			got, err := readAll(strings.NewReader(raw[:end]), http.MethodPost)
			if err == nil {
				err = got.err
			}
			require.Error(t, err, "%q", raw[:end])
			if end > 0 {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", raw[:end])
			}
			reset, err := readAll(io.MultiReader(strings.NewReader(raw[:end]), iotest.ErrReader(iotest.ErrTimeout)), http.MethodPost)
			if err == nil {
				err = reset.err
			}
			require.ErrorIs(t, err, iotest.ErrTimeout, "%q", raw[:end])
		}
		got, err := readAll(strings.NewReader(raw), http.MethodPost)
		require.NoError(t, err)
		require.NoError(t, got.err)
	}
}

func TestHeader_lists(t *testing.T) {
	h := Header{{"Connection", "keep-alive, X-Hop"}, {"Connection", "close"}, {"Content-Type", "a"}}
	require.True(t, h.Named("Connection", "x-hop"))
	require.True(t, h.Named("Connection", "CLOSE"))
	require.False(t, h.Named("Connection", "hop"))
	require.Equal(t, "a", h.Get("Content-Type"))
	require.Empty(t, h.Get("Nope"))
}

// FuzzResponse holds the reader against net/http's: what we accept it accepts,
// with the same status, fields and body.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\ndate: x\r\nserver: uvicorn\r\ncontent-length: 5\r\ncontent-type: application/json\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "HTTP/1.0 500 X\r\n\r\nbody", "HTTP/1.1 200 OK\r\nConnection: close\r\nX:  a\t\r\n\r\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, isPost bool) {
		method := http.MethodGet
		if isPost {
			method = http.MethodPost
		}
		slow, slowErr := readAll(iotest.HalfReader(bytes.NewReader(raw)), method)
		got, err := readAll(bytes.NewReader(raw), method)
		require.Equal(t, err == nil, slowErr == nil, "%v, %v", err, slowErr)
		if err != nil {
			return
		}
		require.Equal(t, got.body, slow.body)
		require.Equal(t, got.err == nil, slow.err == nil)
		r := bufio.NewReader(bytes.NewReader(raw))
		want, err := http.ReadResponse(r, &http.Request{Method: method})
		for err == nil && want.StatusCode < 200 { // it returns interim ones
			want, err = http.ReadResponse(r, &http.Request{Method: method})
		}
		require.NoError(t, err, "%q: net/http refuses what we take", raw)
		require.Equal(t, want.StatusCode, got.Status)
		if got.err != nil {
			return // net/http lets more pass in chunk extensions and trailers
		}
		b, err := io.ReadAll(want.Body)
		require.NoError(t, err, "%q", raw)
		require.Equal(t, string(b), got.body, "%q", raw)
		for k, values := range want.Header {
			var ours []string
			for _, f := range got.Header {
				if f.Name == k {
					ours = append(ours, f.Value)
				}
			}
			require.Equal(t, values, ours, "%s in %q", k, raw)
		}
	})
}
