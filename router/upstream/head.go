package upstream

import (
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// head is a parsed response head.
type head struct {
	status  int
	minor   int // of HTTP/1.x
	header  Header
	length  int64 // of Content-Length, -1 if absent
	chunked bool
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
		if len(h.header) == wire.MaxFields {
			return h, wire.Malformed("too many fields")
		}
		name, value, err := wire.Field(line)
		if err != nil {
			return h, err
		}
		h.header = append(h.header, Field{name, value})
	}
	return h, h.framing()
}

// statusLine reads "HTTP/1.1 200 OK"; the phrase may be missing.
func (h *head) statusLine(line string) error {
	version, rest, ok := strings.Cut(line, " ")
	switch {
	case !ok:
		return wire.Malformed("no status line")
	case version == "HTTP/1.1":
		h.minor = 1
	case version == "HTTP/1.0":
	default:
		return wire.Malformed("not HTTP/1.0 or 1.1")
	}
	code, phrase, _ := strings.Cut(rest, " ")
	if len(code) != 3 || code[0] < '1' || code[0] > '9' || !wire.IsDigits(code) || !wire.IsValue(phrase) {
		return wire.Malformed("bad status line")
	}
	h.status, _ = strconv.Atoi(code)
	return nil
}

// framing finds out how long the body is (RFC 9112, 6.3), and refuses what
// leaves room for another opinion.
func (h *head) framing() error {
	for _, f := range h.header {
		switch f.Name {
		case "Content-Length":
			n, err := wire.ContentLength(f.Value)
			if err != nil || h.length >= 0 {
				return wire.Malformed("bad or repeated Content-Length")
			}
			h.length = n
		case "Transfer-Encoding":
			if h.chunked || h.minor == 0 || !strings.EqualFold(f.Value, "chunked") {
				return wire.Malformed("bad or repeated Transfer-Encoding")
			}
			h.chunked = true
		}
	}
	if h.chunked && h.length >= 0 {
		return wire.Malformed("both Transfer-Encoding and Content-Length")
	}
	return nil
}
