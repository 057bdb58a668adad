package h1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// refusal is a request that is answered with an error and the connection's end.
type refusal struct {
	code int
	what string
}

func (r *refusal) Error() string { return r.what }

var errHeadTooLong error = &refusal{http.StatusRequestHeaderFieldsTooLarge, "the head is too long"}

func bad(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// parse makes a request of the head at the beginning of c.buf.
func (c *conn) parse() error {
	text := string(c.buf[:c.head-2])
	c.buf = c.buf[c.head:]
	line, rest, _ := strings.Cut(text, "\r\n")
	c.req = http.Request{Header: c.header, RemoteAddr: c.remote}
	if err := c.requestLine(line); err != nil {
		return err
	}
	n := 0
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, err := wire.Field(line)
		if err != nil {
			return bad("%v", err)
		}
		if n++; n > wire.MaxFields {
			return errHeadTooLong
		}
		switch old := c.header[name]; {
		case old != nil:
			c.header[name] = append(old, value)
		case n <= maxOneLine:
			c.values[n-1] = value
			c.header[name] = c.values[n-1 : n : n]
		default:
			c.header[name] = []string{value}
		}
	}
	if err := c.host(); err != nil {
		return err
	}
	return c.framing()
}

// requestLine reads "POST /path HTTP/1.1".
func (c *conn) requestLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	r := &c.req
	switch version {
	case "HTTP/1.1":
		r.ProtoMinor = 1
	case "HTTP/1.0":
	default:
		if strings.HasPrefix(version, "HTTP/") && wire.IsToken(method) {
			return &refusal{http.StatusHTTPVersionNotSupported, "want HTTP/1.1"}
		}
		return bad("no request line")
	}
	if !wire.IsToken(method) || method == http.MethodConnect || target == "" || !wire.IsValue(target) || strings.ContainsAny(target, "\t") {
		return bad("bad request line")
	}
	r.Method, r.RequestURI, r.Proto, r.ProtoMajor = method, target, version, 1
	path, query, _ := strings.Cut(target, "?")
	if path[:min(1, len(path))] == "/" && plainPath(path) {
		c.url = url.URL{Path: path, RawQuery: query, ForceQuery: query == "" && strings.HasSuffix(target, "?")}
		r.URL = &c.url
		return nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Opaque != "" || u.Host == "" && target[0] != '/' && target != "*" {
		return bad("bad request target")
	}
	r.URL = u
	return nil
}

// plainPath reports whether a path says itself what it is.
func plainPath(p string) bool {
	for i := range len(p) {
		if c := p[i]; c == '%' || c == '#' || c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return !strings.HasPrefix(p, "//")
}

// host takes the Host field out of the header, as net/http does.
func (c *conn) host() error {
	hosts := c.header["Host"]
	if len(hosts) > 1 || len(hosts) == 0 && c.req.ProtoMinor == 1 {
		return bad("want one Host field, have %d", len(hosts))
	}
	if len(hosts) == 1 {
		c.req.Host = hosts[0]
	}
	if c.req.URL.Host != "" {
		c.req.Host = c.req.URL.Host // of an absolute target (RFC 9112, 3.2.2)
	}
	if strings.ContainsAny(c.req.Host, " /\\@,\"<>") {
		return bad("bad Host field")
	}
	delete(c.header, "Host")
	return nil
}

// framing finds out how long the body is (RFC 9112, 6.3), and refuses what
// leaves room for another opinion: whoever sits before us may have it.
func (c *conn) framing() error {
	r := &c.req
	lengths, codings := c.header["Content-Length"], c.header["Transfer-Encoding"]
	c.body = body{c: c, done: true}
	r.Body = http.NoBody
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return bad("both Transfer-Encoding and Content-Length")
	case len(codings) > 1 || len(lengths) > 1:
		return bad("a repeated Transfer-Encoding or Content-Length")
	case len(codings) == 1:
		if r.ProtoMinor == 0 {
			return bad("Transfer-Encoding in HTTP/1.0")
		}
		if !strings.EqualFold(codings[0], "chunked") {
			return &refusal{http.StatusNotImplemented, "no Transfer-Encoding but chunked is known here"}
		}
		delete(c.header, "Transfer-Encoding")
		r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1
		c.body.chunked, c.body.done = true, false
	case len(lengths) == 1:
		n, err := wire.ContentLength(lengths[0])
		if err != nil {
			return bad("bad Content-Length")
		}
		r.ContentLength, c.body.left, c.body.done = n, n, n == 0
	}
	if !c.body.done {
		r.Body = &c.body
	} else if len(c.buf) == 0 {
		c.givePage()
	}
	if expect := r.Header.Get("Expect"); expect != "" {
		if !strings.EqualFold(expect, "100-continue") {
			return &refusal{http.StatusExpectationFailed, "no expectation but 100-continue is known here"}
		}
		c.body.expected = r.ProtoMinor == 1 && !c.body.done && len(c.buf) == 0
	}
	r.Close = r.ProtoMinor == 0 || hasToken(r.Header["Connection"], "close")
	return nil
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// body is a request's body.
type body struct {
	c        *conn
	left     int64
	chunked  bool
	expected bool // the client waits to be told to send
	timeless bool // the head's deadline is lifted
	done     bool
	parts    wire.Chunks
	err      error
}

// Close does nothing: what was not read decides over the connection's end.
func (b *body) Close() error { return nil }

// Read hands out what is there.
func (b *body) Read(p []byte) (int, error) {
	for {
		switch {
		case b.err != nil:
			return 0, b.err
		case b.done:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		n, err := b.read(p)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			b.err = err
			return n, err
		}
		if b.done {
			return n, io.EOF
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (b *body) read(p []byte) (n int, err error) {
	c := b.c
	if b.chunked {
		if len(c.buf) == 0 {
			n, err := b.wait(c.page[:cap(c.page)])
			if err != nil {
				return 0, err
			}
			c.buf = c.page[:n]
		}
		n, used, err := b.parts.Decode(p[:copy(p, c.buf)])
		c.buf = c.buf[used:]
		b.ended(b.parts.Done())
		return n, err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if n = copy(p, c.buf); n > 0 {
		c.buf = c.buf[n:]
	} else if n, err = b.wait(p); err != nil {
		return 0, err
	}
	b.left -= int64(n)
	b.ended(b.left == 0)
	return n, nil
}

// ended notes the body's end. An answer may take minutes: the page is another
// connection's meanwhile.
func (b *body) ended(yes bool) {
	if b.done = yes; yes && len(b.c.buf) == 0 {
		b.c.givePage()
	}
}

// wait reads from the connection, after telling a client that waits for it to
// send.
func (b *body) wait(p []byte) (int, error) {
	c := b.c
	if b.expected {
		b.expected = false
		if _, err := io.WriteString(c.nc, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return 0, err
		}
	}
	if !b.timeless {
		b.timeless = true
		c.readBy.at(time.Time{})
	}
	n, err := c.read(p)
	if n > 0 {
		err = nil // the next read says it again
	}
	return n, err
}
