package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errMalformed is wrapped by every error about what an instance wrote. A
// response that two readers could understand differently is refused whole: on
// a connection that is used again, the difference is another request's answer.
var errMalformed = errors.New("malformed response")

func malformed(what string) error { return fmt.Errorf("%w: %s", errMalformed, what) }

// maxFields bounds the fields of a head and of a trailer.
const maxFields = 128

// head is a parsed response head.
type head struct {
	status  int
	minor   int // of HTTP/1.x
	header  Header
	length  int64 // of Content-Length, -1 if absent
	chunked bool
}

// endOfHead is the length of the head in b with its empty line, 0 if it has no
// end yet. from is how much of b was searched before.
func endOfHead(b []byte, from int) int {
	from = max(0, from-3)
	if at := bytes.Index(b[from:], []byte("\r\n\r\n")); at >= 0 {
		return from + at + 4
	}
	return 0
}

// parseHead reads a head that ends with its empty line.
func parseHead(text string, into Header) (head, error) {
	h := head{length: -1, header: into}
	line, rest, _ := strings.Cut(text, "\r\n")
	if err := h.statusLine(line); err != nil {
		return h, err
	}
	for {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			break
		}
		if len(h.header) == maxFields {
			return h, malformed("too many fields")
		}
		f, err := parseField(line)
		if err != nil {
			return h, err
		}
		h.header = append(h.header, f)
	}
	return h, h.framing()
}

// statusLine reads "HTTP/1.1 200 OK"; the phrase may be missing.
func (h *head) statusLine(line string) error {
	version, rest, ok := strings.Cut(line, " ")
	switch {
	case !ok:
		return malformed("no status line")
	case version == "HTTP/1.1":
		h.minor = 1
	case version == "HTTP/1.0":
	default:
		return malformed("not HTTP/1.0 or 1.1")
	}
	code, phrase, _ := strings.Cut(rest, " ")
	if len(code) != 3 || code[0] < '1' || code[0] > '9' || !digits(code) || !isValue(phrase) {
		return malformed("bad status line")
	}
	h.status, _ = strconv.Atoi(code)
	return nil
}

// parseField reads "Name: value". No space may precede the colon, nor may a
// line continue the one before (RFC 9112, 5.1 and 5.2).
func parseField(line string) (Field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return Field{}, malformed("bad field name")
	}
	value = strings.Trim(value, " \t")
	if !isValue(value) {
		return Field{}, malformed("control character in a field")
	}
	return Field{Name: canonical(name), Value: value}, nil
}

// framing finds out how long the body is (RFC 9112, 6.3), and refuses what
// leaves room for another opinion.
func (h *head) framing() error {
	for _, f := range h.header {
		switch f.Name {
		case "Content-Length":
			n, err := contentLength(f.Value)
			if err != nil || h.length >= 0 {
				return malformed("bad or repeated Content-Length")
			}
			h.length = n
		case "Transfer-Encoding":
			if h.chunked || h.minor == 0 || !strings.EqualFold(f.Value, "chunked") {
				return malformed("bad or repeated Transfer-Encoding")
			}
			h.chunked = true
		}
	}
	if h.chunked && h.length >= 0 {
		return malformed("both Transfer-Encoding and Content-Length")
	}
	return nil
}

func contentLength(s string) (int64, error) {
	if !digits(s) {
		return 0, errMalformed
	}
	return strconv.ParseInt(s, 10, 64)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
