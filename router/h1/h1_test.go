package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const waitFor = 5 * time.Second

// serve starts a server and returns its address.
func serve(t *testing.T, s *Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String()
}

func handler(f http.HandlerFunc) *Server { return &Server{Handler: f} }

func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(waitFor)))
	return nc, bufio.NewReader(nc)
}

// ask sends bytes and reads one response to a request of the method.
func ask(t *testing.T, nc net.Conn, r *bufio.Reader, method, raw string) (*http.Response, string) {
	_, err := io.WriteString(nc, raw)
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func TestServer_speaksWithNetHTTPsClient(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Echo", r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+r.Header.Get("X-In")+" "+r.Host)
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		case "/pieces":
			for rest := b; len(rest) > 0; rest = rest[min(700, len(rest)):] {
				_, _ = w.Write(rest[:min(700, len(rest))])
				_ = http.NewResponseController(w).Flush()
			}
			return
		case "/now":
			for rest := b; len(rest) > 0; rest = rest[min(7000, len(rest)):] {
				_, _ = w.Write(rest[:1])
				_, _ = w.(interface{ WriteNow(p []byte) (int, error) }).WriteNow(rest[1:min(7000, len(rest))])
			}
			return
		case "/status":
			w.WriteHeader(http.StatusTeapot)
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(b)
	}))
	for _, path := range []string{"/plain", "/length", "/pieces", "/now", "/status", "/nothing", "/with%20space"} {
		for _, body := range []string{"", "small", big} {
			for _, chunked := range []bool{false, true} {
				for _, method := range []string{"POST", "HEAD"} {
					from := io.Reader(strings.NewReader(body))
					if chunked {
						from = io.MultiReader(from) // hides the length
					}
					req, err := http.NewRequest(method, "http://"+addr+path+"?q=1", from)
					require.NoError(t, err)
					req.Header.Set("X-In", "in")
					resp, err := http.DefaultClient.Do(req)
					require.NoError(t, err)
					b, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					resp.Body.Close()
					require.Equal(t, method+" "+req.URL.Path+"?q=1 in "+addr, resp.Header.Get("X-Echo"))
					require.NotEmpty(t, resp.Header.Get("Date"))
					if method == "HEAD" || path == "/nothing" {
						require.Empty(t, b)
					} else {
						require.True(t, string(b) == body, "%s: %d bytes of %d", path, len(b), len(body))
					}
				}
			}
		}
	}
}

func TestServer_requestsInOneStretchAreAnsweredInOrder(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path, string(b))
	}))
	nc, r := dial(t, addr)
	_, err := io.WriteString(nc, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"+
		"POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	for _, want := range []string{"/1one", "/2two", "/3"} {
		_, b := ask(t, nc, r, "POST", "")
		require.Equal(t, want, b)
	}
}

func TestServer_refusesWhatCouldBeReadInTwoWays(t *testing.T) {
	addr := serve(t, handler(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("a handler got %s %s %q", r.Method, r.RequestURI, b)
		}
	}))
	const ok = "POST / HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		raw  string
		code int
	}{
		"no version":             {"GET /\r\n\r\n", 400},
		"http 2":                 {"PRI * HTTP/2.0\r\n\r\n", 505},
		"two spaces":             {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"space in the target":    {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"bad method":             {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"connect":                {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", 400},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		"host with a slash":      {"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
		"relative target":        {"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"bad escape":             {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"length and chunked":     {ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":            {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400},
		"the same length twice":  {ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
		"list of lengths":        {ok + "Content-Length: 1, 1\r\n\r\nx", 400},
		"signed length":          {ok + "Content-Length: +1\r\n\r\nx", 400},
		"empty length":           {ok + "Content-Length: \r\n\r\nx", 400},
		"huge length":            {ok + "Content-Length: 99999999999999999999\r\n\r\n", 400},
		"chunked twice":          {ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"gzip, chunked":          {ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		"xchunked":               {ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
		"chunked in 1.0":         {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"space before the colon": {ok + "Content-Length : 1\r\n\r\nx", 400},
		"continued line":         {ok + "X: a\r\n b\r\n\r\n", 400},
		"no colon":               {ok + "X\r\n\r\n", 400},
		"line feed in a value":   {ok + "X: a\nContent-Length: 1\r\n\r\nx", 400},
		"NUL in a value":         {ok + "X: a\x00\r\n\r\n", 400},
		"other expectation":      {ok + "Expect: 200-ok\r\n\r\n", 417},
		"head too long":          {ok + "X: " + strings.Repeat("y", defaultMaxHeader) + "\r\n\r\n", 431},
		"too many fields":        {ok + strings.Repeat("X: y\r\n", 200) + "\r\n", 431},
		"bad chunk":              {ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n", 0},
		"chunk without an end":   {ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			nc, r := dial(t, addr)
			_, _ = io.WriteString(nc, c.raw)
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			if c.code != 0 { // else it is the handler's to say
				require.Equal(t, c.code, resp.StatusCode)
			}
			require.True(t, resp.Close)
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err)
			_, err = r.ReadByte()
			require.Error(t, err, "the connection is at its end")
		})
	}
}

func TestServer_clientThatLeavesEndsTheContext(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":                 func(nc *net.TCPConn) { _ = nc.Close() },
		"resets":                 func(nc *net.TCPConn) { _ = nc.SetLinger(0); _ = nc.Close() },
		"closes its sending end": func(nc *net.TCPConn) { _ = nc.CloseWrite() },
	} {
		for _, flushed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				arrived, gone := make(chan struct{}), make(chan struct{})
				addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if flushed {
						_ = http.NewResponseController(w).Flush()
					}
					close(arrived)
					<-r.Context().Done()
					close(gone)
				}))
				nc, _ := dial(t, addr)
				_, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
				require.NoError(t, err)
				wait(t, arrived)
				leave(nc.(*net.TCPConn))
				wait(t, gone)
			})
		}
	}
}

func TestServer_contextEndsWithTheHandlerAndNotBefore(t *testing.T) {
	contexts := make(chan context.Context, 2)
	addr := serve(t, handler(func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.Context().Err())
		contexts <- r.Context()
	}))
	nc, r := dial(t, addr)
	for range 2 {
		ask(t, nc, r, "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		wait(t, (<-contexts).Done())
	}
}

func TestServer_expectedBodyIsAskedForWhenItIsRead(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
			return
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	nc, r := dial(t, addr)
	resp, _ := ask(t, nc, r, "POST", "POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	require.Equal(t, 100, resp.StatusCode)
	_, b := ask(t, nc, r, "POST", "ok")
	require.Equal(t, "ok", b)
	resp, _ = ask(t, nc, r, "POST", "POST /no HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	require.Equal(t, 413, resp.StatusCode)
	require.True(t, resp.Close, "what follows could be the body or a request")
}

func TestServer_unreadBodyEndsTheConnectionAfterTheAnswer(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	nc, r := dial(t, addr)
	go func() {
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 200_000))
	}()
	resp, _ := ask(t, nc, r, "POST", "")
	require.Equal(t, 404, resp.StatusCode)
	require.True(t, resp.Close)
}

func TestServer_bodyThatIsCutIsAnError(t *testing.T) {
	failed := make(chan error, 1)
	addr := serve(t, handler(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
	}))
	for _, raw := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		nc, _ := dial(t, addr)
		_, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\n"+raw)
		require.NoError(t, err)
		require.NoError(t, nc.(*net.TCPConn).CloseWrite())
		require.ErrorIs(t, <-failed, io.ErrUnexpectedEOF)
	}
}

func TestServer_panicDropsTheConnection(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic(http.ErrAbortHandler)
	}))
	nc, r := dial(t, addr)
	_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestServer_lessThanPromisedDropsTheConnection(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half")
		_, err := fmt.Fprint(w, "much too much")
		require.ErrorIs(t, err, http.ErrContentLength)
	}))
	nc, r := dial(t, addr)
	_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestServer_slowHeadIsCutOff(t *testing.T) {
	s := handler(func(http.ResponseWriter, *http.Request) { t.Error("served") })
	s.ReadHeaderTimeout = 100 * time.Millisecond
	nc, r := dial(t, serve(t, s))
	stop := make(chan struct{})
	go func() { // a byte now and then must not buy more time
		defer close(stop)
		for _, b := range []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 1000)) {
			if _, err := nc.Write([]byte{b}); err != nil {
				return
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	began := time.Now()
	_, err := r.ReadByte()
	require.Error(t, err)
	require.Less(t, time.Since(began), 2*time.Second)
	nc.Close()
	<-stop
}

func TestServer_idleConnectionIsClosed(t *testing.T) {
	s := handler(func(http.ResponseWriter, *http.Request) {})
	s.IdleTimeout = 50 * time.Millisecond
	nc, r := dial(t, serve(t, s))
	ask(t, nc, r, "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err := r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestShutdown_finishesWhatRuns(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		fmt.Fprint(w, "whole")
	})
	addr := serve(t, s)
	idle, idleReader := dial(t, addr)
	ask(t, idle, idleReader, "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	busy, busyReader := dial(t, addr)
	_, err := io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	wait(t, arrived)
	fresh, freshReader := dial(t, addr)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == 3 }, waitFor, time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	_, err = idleReader.ReadByte()
	require.ErrorIs(t, err, io.EOF, "idle connections are closed")
	resp, b := ask(t, fresh, freshReader, "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, "whole", b, "a request on its way is still answered")
	require.True(t, resp.Close)
	select {
	case err := <-done:
		t.Fatal("did not wait: ", err)
	default:
	}
	close(release)
	resp, b = ask(t, busy, busyReader, "GET", "")
	require.Equal(t, "whole", b)
	require.True(t, resp.Close)
	require.NoError(t, <-done)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
}

func TestShutdown_endsWithItsContext(t *testing.T) {
	arrived := make(chan struct{})
	s := handler(func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	addr := serve(t, s)
	nc, _ := dial(t, addr)
	_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	wait(t, arrived)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
}

func TestWrite_slowClientBlocksTheHandlerAndNothingElse(t *testing.T) {
	wrote := make(chan int, 1)
	addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return
		}
		total, piece := 0, make([]byte, 64<<10)
		for range 1000 {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Error(err)
			}
			n, err := w.Write(piece)
			total += n
			if err != nil {
				break
			}
		}
		wrote <- total
	}))
	slow, _ := dial(t, addr)
	_, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	other, r := dial(t, addr)
	ask(t, other, r, "GET", "GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Less(t, <-wrote, 64<<20, "what the client does not read is not taken")
}

func TestWrite_deadlineEndsWithItsRequest(t *testing.T) {
	addr := serve(t, handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/timed" {
			require.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
		}
		fmt.Fprint(w, "ok")
	}))
	nc, r := dial(t, addr)
	ask(t, nc, r, "GET", "GET /timed HTTP/1.1\r\nHost: x\r\n\r\n")
	<-time.After(80 * time.Millisecond)
	_, b := ask(t, nc, r, "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, "ok", b)
}

// FuzzRequest holds the reader against net/http's: what we accept it accepts,
// and reads the same.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"POST /a%20b?q=%20 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\n{}\r\n0\r\nT: v\r\n\r\n",
		"GET http://h:1/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n", "GET //x?#y HTTP/1.1\r\nhost:y\r\nx-a: 1\r\nX-A: 2\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &Server{MaxHeaderBytes: defaultMaxHeader}
		c := newConn(s, &script{r: bytes.NewReader(raw)})
		if c.readHead() != nil || c.parse() != nil {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		require.NoError(t, err, "net/http refuses what we take: %q", raw)
		got := &c.req
		require.Equal(t, want.Method, got.Method)
		require.Equal(t, want.URL.Path, got.URL.Path, "%q", raw)
		require.Equal(t, want.URL.RawQuery, got.URL.RawQuery, "%q", raw)
		require.Equal(t, want.RequestURI, got.RequestURI)
		require.Equal(t, want.ContentLength, got.ContentLength)
		require.Equal(t, want.Host, got.Host)
		require.Equal(t, want.Close, got.Close, "%q", raw)
		b, err := io.ReadAll(got.Body)
		if err != nil {
			return // net/http lets more pass in chunks
		}
		theirs, err := io.ReadAll(want.Body)
		require.NoError(t, err)
		require.Equal(t, string(theirs), string(b))
		for k, v := range want.Header {
			if k != "Content-Length" || got.ContentLength >= 0 {
				require.Equal(t, v, got.Header[k], "%s in %q", k, raw)
			}
		}
	})
}

// script is a connection that says what it is told.
type script struct {
	net.Conn
	r io.Reader
}

func (s *script) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(waitFor):
		t.Fatal("timed out")
	}
}

func TestServe_afterCloseReturnsAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Handler: http.NotFoundHandler()}
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Serve(l), http.ErrServerClosed)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestShutdown_requestOnAnIdleConnectionIsStillAnswered(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), IdleGrace: 300 * time.Millisecond}
	go func() { _ = s.Serve(l) }()
	conns := make([]net.Conn, 2)
	ask := func(c net.Conn) *http.Response {
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp
	}
	for n := range conns {
		conns[n], err = net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer conns[n].Close()
		require.False(t, ask(conns[n]).Close)
	}
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(t.Context()) }()
	require.Eventually(t, s.stopping.Load, 5*time.Second, time.Millisecond)
	require.True(t, ask(conns[0]).Close, "and is told that the connection ends")
	_, err = conns[1].Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "after the grace")
	require.NoError(t, <-done)
}
