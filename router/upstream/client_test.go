package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const waitFor = 5 * time.Second

func newClient(t *testing.T, cfg Config) *Client {
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func get(base string) *Request { return &Request{Method: http.MethodGet, Base: base, Path: "/"} }

func post(base string, body ...string) *Request {
	r := &Request{Method: http.MethodPost, Base: base, Path: "/x"}
	for _, b := range body {
		r.Body = append(r.Body, []byte(b))
	}
	return r
}

// whole sends a request and reads its answer.
func whole(c *Client, r *Request) (string, error) {
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		return "", err
	}
	defer resp.Close()
	b, err := io.ReadAll(resp)
	return string(b), err
}

// listen serves each connection with f, which gets its number from 1.
func listen(t *testing.T, f func(n int, nc net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 1; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer nc.Close(); f(n, nc) }()
		}
	}()
	return "http://" + l.Addr().String()
}

// readRequest takes one request off the connection.
func readRequest(nc net.Conn) (string, error) {
	req, err := http.ReadRequest(bufio.NewReader(nc))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(req.Body)
	return string(b), err
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestDo_refusedIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = whole(newClient(t, Config{}), post("http://"+l.Addr().String(), "body"))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.NotSent)
}

func TestDo_badAddressIsNotSent(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:1", "ftp://h", "http://a b", "http://h\r\nX: y", "http://"} {
		_, err := whole(newClient(t, Config{}), get(base))
		var e *Error
		require.ErrorAs(t, err, &e, base)
		require.True(t, e.NotSent)
	}
}

func TestDo_sendsWhatNetHTTPReads(t *testing.T) {
	big := strings.Repeat("0123456789", 30_000)
	type got struct{ method, uri, host, body, custom, encoding string }
	seen := make(chan got, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen <- got{r.Method, r.RequestURI, r.Host, string(b), r.Header.Get("X-Custom"), r.Header.Get("Accept-Encoding") + strings.Join(r.TransferEncoding, "")}
	}))
	defer s.Close()
	c := newClient(t, Config{})
	header := AppendHeader(AppendHeader(AppendHeader(nil, "X-Custom", "a b"), "X-Evil", "x\r\nX-Smuggled: 1"), "X Evil", "y")
	for _, body := range [][]string{{"small", " body"}, {"{", big, "", `,"k":1}`}, {}} {
		r := post(s.URL+"/base/", body...)
		r.Header = header
		_, err := whole(c, r)
		require.NoError(t, err)
		require.Equal(t, got{"POST", "/base/x", strings.TrimPrefix(s.URL, "http://"), strings.Join(body, ""), "a b", ""}, <-seen)
	}
}

func TestDo_connectionsAreUsedAgain(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			_ = http.NewResponseController(w).Flush() // chunked
		}
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := newClient(t, Config{})
	for range 5 {
		for _, r := range []*Request{get(s.URL), post(s.URL, "b")} {
			b, err := whole(c, r)
			require.NoError(t, err)
			require.Equal(t, "ok", b)
		}
	}
	require.EqualValues(t, 1, conns.Load())
}

func TestDo_brokenConnectionMayHaveBeenSeenAndIsNotRepeated(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"closed": func(net.Conn) {},
		"reset":  func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0) },
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int32
			base := listen(t, func(_ int, nc net.Conn) {
				for {
					if _, err := readRequest(nc); err != nil {
						return
					}
					if seen.Add(1) > 1 {
						end(nc)
						return
					}
					_, _ = io.WriteString(nc, okAnswer)
				}
			})
			c := newClient(t, Config{})
			_, err := whole(c, post(base, "body"))
			require.NoError(t, err)
			_, err = whole(c, post(base, "body"))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.False(t, e.NotSent)
			require.EqualValues(t, 2, seen.Load(), "a request that may have been seen is not sent again")
		})
	}
}

func TestDo_idleConnectionThatTheServerClosedIsPassedOver(t *testing.T) {
	closed := make(chan struct{})
	base := listen(t, func(n int, nc net.Conn) {
		if _, err := readRequest(nc); err != nil {
			return
		}
		_, _ = io.WriteString(nc, okAnswer)
		if n == 1 {
			nc.Close()
			close(closed)
		}
	})
	c := newClient(t, Config{})
	_, err := whole(c, post(base, "one"))
	require.NoError(t, err)
	<-closed
	b, err := whole(c, post(base, "two"))
	require.NoError(t, err)
	require.Equal(t, "ok", b)
}

func TestDo_idleConnectionThatSpokeUnaskedIsPassedOver(t *testing.T) {
	spoken := make(chan struct{})
	base := listen(t, func(n int, nc net.Conn) {
		for first := true; ; first = false {
			if _, err := readRequest(nc); err != nil {
				return
			}
			_, _ = io.WriteString(nc, okAnswer)
			if n == 1 && first {
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				close(spoken)
			}
		}
	})
	c := newClient(t, Config{})
	_, err := whole(c, post(base, "one"))
	require.NoError(t, err)
	<-spoken
	b, err := whole(c, post(base, "two"))
	require.NoError(t, err)
	require.Equal(t, "ok", b, "an answer that came before its question belongs to nobody")
}

// A request can meet a connection that is being closed just then, after it was
// looked at. Only here the look is left out.
func TestUnseen_aRequestThatCrossedTheClose(t *testing.T) {
	for _, read := range []bool{false, true} {
		again := make(chan struct{})
		base := listen(t, func(_ int, nc net.Conn) {
			_, _ = readRequest(nc)
			_, _ = io.WriteString(nc, okAnswer)
			if read {
				_, _ = readRequest(nc)
			}
			_ = nc.Close()
			close(again)
		})
		c := newClient(t, Config{})
		_, err := whole(c, post(base, "one"))
		require.NoError(t, err)
		h, err := c.host(base)
		require.NoError(t, err)
		cn := h.idle[0]
		if !read {
			<-again
			acked, ok := cn.acknowledged()
			require.True(t, ok)
			require.LessOrEqual(t, acked, cn.answered+1)
			require.GreaterOrEqual(t, acked, cn.answered)
			require.True(t, cn.unseen(errNoResponse))
			continue
		}
		_, failed := cn.exchange(t.Context(), post(base, "two"), DefaultMaxHead)
		require.ErrorIs(t, failed, errNoResponse)
		require.False(t, cn.unseen(failed.Err), "the server has read it")
	}
}

func TestDo_requestThatIsCutOffIsNotSent(t *testing.T) {
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = nc.Read(make([]byte, 10))
		_ = nc.(*net.TCPConn).SetLinger(0)
	})
	_, err := whole(newClient(t, Config{}), post(base, strings.Repeat("x", 32<<20)))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.NotSent, "no reader can have had the body's end: %v", err)
}

func TestDo_earlyAnswerIsRead(t *testing.T) {
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = nc.Read(make([]byte, 10))
		_, _ = io.WriteString(nc, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, nc)
	})
	resp, err := newClient(t, Config{}).Do(t.Context(), post(base, strings.Repeat("x", 8<<20)))
	require.NoError(t, err)
	defer resp.Close()
	require.Equal(t, 413, resp.Status)
}

func TestDo_contextsCauseIsTheError(t *testing.T) {
	gone := make(chan struct{})
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = nc.Read(make([]byte, 1))
		close(gone)
	})
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, why)
	defer cancel()
	_, err := newClient(t, Config{}).Do(ctx, get(base))
	require.ErrorIs(t, err, why)
	wait(t, gone)
}

func TestClose_beforeTheEndClosesTheConnection(t *testing.T) {
	gone := make(chan struct{})
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
		_, _ = nc.Read(make([]byte, 1))
		close(gone)
	})
	resp, err := newClient(t, Config{}).Do(t.Context(), post(base, "b"))
	require.NoError(t, err)
	b := make([]byte, 10)
	n, err := resp.Read(b)
	require.NoError(t, err)
	require.Equal(t, "one", string(b[:n]), "what is there is handed out")
	resp.Close()
	wait(t, gone)
	_, err = resp.Read(b)
	require.Error(t, err)
	resp.Close()
}

func TestContextEnd_breaksOffTheBody(t *testing.T) {
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
		_, _ = nc.Read(make([]byte, 1))
	})
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := newClient(t, Config{}).Do(ctx, post(base, "b"))
	require.NoError(t, err)
	defer resp.Close()
	b := make([]byte, 10)
	_, err = resp.Read(b)
	require.NoError(t, err)
	cancel()
	_, err = resp.Read(b)
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
}

func TestDeadline_coversHeadAndBody(t *testing.T) {
	for _, said := range []string{"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"} {
		base := listen(t, func(_ int, nc net.Conn) {
			_, _ = readRequest(nc)
			_, _ = io.WriteString(nc, said)
			_, _ = nc.Read(make([]byte, 1))
		})
		r := post(base, "b")
		r.Deadline = time.Now().Add(30 * time.Millisecond)
		_, err := whole(newClient(t, Config{}), r)
		require.ErrorIs(t, err, ErrDeadline, said)
	}
}

func TestDeadline_doesNotOutliveItsRequest(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	defer s.Close()
	c := newClient(t, Config{})
	r := post(s.URL, "b")
	r.Deadline = time.Now().Add(100 * time.Millisecond)
	_, err := whole(c, r)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return time.Now().After(r.Deadline) }, waitFor, 5*time.Millisecond)
	_, err = whole(c, post(s.URL, "b"))
	require.NoError(t, err)
}

func TestTLS_verifiesTheInstance(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append(b, r.Proto...))
	}))
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	_, err := whole(newClient(t, Config{}), get(s.URL))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.NotSent)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c := newClient(t, Config{TLS: &tls.Config{RootCAs: pool}})
	for range 3 {
		b, err := whole(c, post(s.URL, strings.Repeat("x", 10_000)))
		require.NoError(t, err)
		require.True(t, b == strings.Repeat("x", 10_000)+"HTTP/1.1", len(b))
	}
}

// In a bubble time is free, and a pipe stands for the connection.
func TestPool_closesIdleConnectionsBeforeVLLMDoes(t *testing.T) {
	require.Less(t, idleLimit, 5*time.Second)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		h := &host{heads: &headPool{}, busy: 1}
		cn := &conn{nc: ours, host: h}
		h.put(cn)
		time.Sleep(idleLimit - time.Millisecond)
		require.Same(t, cn, h.begin())
		h.put(cn)
		go func() {
			_, err := theirs.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}()
		time.Sleep(idleLimit + 10*time.Millisecond)
		synctest.Wait()
		require.True(t, h.unused())
		require.Nil(t, h.begin())
	})
}

func TestClose_dropsIdleConnections(t *testing.T) {
	gone := make(chan struct{})
	base := listen(t, func(_ int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = io.WriteString(nc, okAnswer)
		_, _ = nc.Read(make([]byte, 1))
		close(gone)
	})
	c := New(Config{})
	_, err := whole(c, get(base))
	require.NoError(t, err)
	c.Close()
	wait(t, gone)
}

// A host whose connections are all in use has none idle; a request to another
// host, seen for the first time, must not make it forget them.
func TestDo_remembersHostsThatAreBusy(t *testing.T) {
	slow, dials := make(chan struct{}), atomic.Int32{}
	busy := listen(t, func(_ int, nc net.Conn) {
		dials.Add(1)
		for {
			if _, err := readRequest(nc); err != nil {
				return
			}
			<-slow
			_, _ = io.WriteString(nc, okAnswer)
		}
	})
	other := listen(t, func(_ int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	})
	c := newClient(t, Config{})
	ended := make(chan error)
	go func() { _, err := whole(c, get(busy)); ended <- err }()
	require.Eventually(t, func() bool { return dials.Load() == 1 }, waitFor, time.Millisecond)
	_, err := whole(c, get(other))
	require.NoError(t, err)
	close(slow)
	require.NoError(t, <-ended)
	_, err = whole(c, get(busy))
	require.NoError(t, err)
	require.EqualValues(t, 1, dials.Load(), "its connection was put back where it is found")

	_, err = whole(c, get("http://127.0.0.1:1"))
	require.Error(t, err)
	_, err = c.host("http://127.0.0.1:2")
	require.NoError(t, err)
	for _, forgotten := range []string{other, "http://127.0.0.1:1"} {
		require.NotContains(t, c.hosts, forgotten, "nothing is open there")
	}
	require.Contains(t, c.hosts, busy)
}

// However a request ends, it is counted out.
func TestDo_countsRequestsOut(t *testing.T) {
	base := listen(t, func(n int, nc net.Conn) {
		_, _ = readRequest(nc)
		_, _ = io.WriteString(nc, []string{okAnswer, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno", "HTTP/1.9\r\n\r\n"}[n-1])
	})
	c := newClient(t, Config{})
	for range 3 {
		_, _ = whole(c, get(base))
		c.Close()
	}
	h, err := c.host(base)
	require.NoError(t, err)
	require.True(t, h.unused())
}

// Bodies are neither copied into nor kept by the client.
func TestDo_bodyIsNotKept(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	c := newClient(t, Config{})
	body := bytes.Repeat([]byte("x"), 1<<20)
	r := &Request{Method: http.MethodPost, Base: s.URL, Path: "/", Body: [][]byte{body}}
	_, err := whole(c, r)
	require.NoError(t, err)
	h, err := c.host(s.URL)
	require.NoError(t, err)
	for _, p := range h.idle[0].pieces[:cap(h.idle[0].pieces)] {
		require.Nil(t, p)
	}
	require.Len(t, r.Body[0], 1<<20, "the caller's pieces are left alone")
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(waitFor):
		t.Fatal("timed out")
	}
}
