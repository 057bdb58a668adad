package upstream

import (
	"strings"

	"github.com/nomad-vllm/nomad-vllm/router/wire"
)

// AppendHeader appends one header line with its end. A field that could be
// read as more than one line, or is no name, is left out.
func AppendHeader(b []byte, name, value string) []byte {
	if !wire.IsToken(name) || !wire.IsValue(value) {
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
