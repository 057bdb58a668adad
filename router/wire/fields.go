package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
)

// ErrMalformed is wrapped by every error about what the other side wrote.
var ErrMalformed = errors.New("malformed")

// Malformed is an ErrMalformed that says what is.
func Malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// MaxFields bounds the fields of a head.
const MaxFields = 128

// EndOfHead is the length of the head in b with its empty line, 0 if it has no
// end yet. searched is how much of b was looked at before.
func EndOfHead(b []byte, searched int) int {
	from := max(0, searched-3)
	if at := bytes.Index(b[from:], []byte("\r\n\r\n")); at >= 0 {
		return from + at + 4
	}
	return 0
}

// Field reads "Name: value" and brings the name into canonical form. No space
// may precede the colon, nor may a line continue the one before (RFC 9112, 5.1
// and 5.2).
func Field(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !IsToken(name) {
		return "", "", Malformed("bad field name")
	}
	value = strings.Trim(value, " \t")
	if !IsValue(value) {
		return "", "", Malformed("control character in a field")
	}
	return canonical(name), value, nil
}

// canonical is the form that net/http gives to a name.
func canonical(name string) string {
	switch name { // what uvicorn and many clients write; the rest may cost a copy
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

// IsToken reports whether a name is a token of RFC 9110, 5.6.2.
func IsToken(s string) bool {
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

// IsValue reports whether a value is free of what could end its line.
func IsValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// ContentLength reads the only form that leaves no doubt: digits.
func ContentLength(s string) (int64, error) {
	if !IsDigits(s) {
		return 0, Malformed("bad Content-Length")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, Malformed("bad Content-Length")
	}
	return n, nil
}

// IsDigits reports whether s is one or more decimal digits.
func IsDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
