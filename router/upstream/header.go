package upstream

import (
	"net/textproto"
	"strings"
)

// AppendHeader appends one header line with its end. A field that could be
// read as more than one line, or is no name, is left out.
func AppendHeader(b []byte, name, value string) []byte {
	if !isToken(name) || !isValue(value) {
		return b
	}
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// Field is one line of a response's head.
type Field struct {
	Name  string // in canonical form: "Content-Type"
	Value string
}

// Header is a response's fields in the order they came.
type Header []Field

// Get is the first value of a name in canonical form, "" if there is none.
func (h Header) Get(name string) string {
	for i := range h {
		if h[i].Name == name {
			return h[i].Value
		}
	}
	return ""
}

// Named reports whether one of the field's comma-separated members is the
// name, whatever its case: as in "Connection: close, x-hop".
func (h Header) Named(field, name string) bool {
	for i := range h {
		if h[i].Name != field {
			continue
		}
		for member := range strings.SplitSeq(h[i].Value, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), name) {
				return true
			}
		}
	}
	return false
}

// canonical is the form that net/http gives to a name.
func canonical(name string) string {
	switch name { // what uvicorn writes; the rest costs a copy
	case "date":
		return "Date"
	case "server":
		return "Server"
	case "content-length":
		return "Content-Length"
	case "content-type":
		return "Content-Type"
	case "transfer-encoding":
		return "Transfer-Encoding"
	case "x-request-id":
		return "X-Request-Id"
	case "vary":
		return "Vary"
	case "endpoint-load-metrics":
		return "Endpoint-Load-Metrics"
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// isToken reports whether a name is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		case strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isValue reports whether a value is free of what could end its line.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
