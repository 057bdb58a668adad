package body

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Object is a parsed JSON object over the bytes that it was parsed from; they
// must not change while it is in use.
type Object struct {
	raw     []byte
	members []member
	open    int // offset just past '{'
}

// member is one top-level member, as offsets into raw.
type member struct {
	keyStart, keyEnd, valueStart, valueEnd int
	// decoded is the key if it was written with escapes, which must not hide a name.
	decoded string
	escaped bool
}

// maxMembers is the most top-level members that are accepted. vLLM's requests
// have some sixty; a body of millions would cost a hundred times its size.
const maxMembers = 1024

// Parse checks a whole document and indexes the members of its top level. The
// error is a *SyntaxError.
func Parse(raw []byte) (*Object, error) {
	o := &Object{}
	if err := o.Reset(raw); err != nil {
		return nil, err
	}
	return o, nil
}

// Reset makes o the Object of another document, as Parse, in o's memory. After
// an error o is not to be used until the next Reset.
func (o *Object) Reset(raw []byte) error { return o.reset(&scanner{b: raw}) }

// ResetWith is Reset and makes inner the Object of o's member of that name, if
// its value is an object, without reading that twice.
func (o *Object) ResetWith(raw []byte, name string, inner *Object) error {
	s := scanner{b: raw, innerName: name, inner: inner}
	inner.open, inner.members = 0, inner.members[:0] // nothing of another document may pass for this one's
	if err := o.reset(&s); err != nil {
		return err
	}
	if len(inner.members) > maxMembers {
		return s.fail(fmt.Sprintf("more than %d members in %s", maxMembers, name))
	}
	m := o.last(name)
	if m != nil && raw[m.valueStart] == '{' && inner.open != m.valueStart+1 { // the name was written with an escape
		return inner.Reset(raw[m.valueStart:m.valueEnd])
	}
	return nil
}

func (o *Object) reset(s *scanner) error {
	if err := s.start(); err != nil {
		return err
	}
	if s.peek() != '{' {
		return s.fail("want an object")
	}
	o.begin(s)
	if err := s.object(0, o); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	if len(o.members) > maxMembers {
		return s.fail(fmt.Sprintf("more than %d members at the top level", maxMembers))
	}
	return nil
}

// begin forgets the last document for the object at the scanner.
func (o *Object) begin(s *scanner) {
	o.raw, o.open = s.b, s.i+1
	clear(o.members[:cap(o.members)])
	o.members = o.members[:0]
}

// add indexes one member.
func (o *Object) add(keyStart, keyEnd, valueStart, valueEnd int) {
	if len(o.members) > maxMembers {
		return
	}
	m := member{keyStart: keyStart, keyEnd: keyEnd, valueStart: valueStart, valueEnd: valueEnd}
	if quoted := o.raw[keyStart:keyEnd]; bytes.IndexByte(quoted, '\\') >= 0 {
		m.escaped, m.decoded = true, unquote(quoted)
	}
	o.members = append(o.members, m)
}

// unquote reads a string that the scanner has checked.
func unquote(quoted []byte) (s string) {
	_ = json.Unmarshal(quoted, &s)
	return s
}

// Text is the value of a JSON string that was part of a parsed document; false
// if it is no string, or has half of a surrogate pair. Python keeps that half,
// Go reads U+FFFD, so to decide by either would be to take one text for another.
func Text(raw json.RawMessage) (string, bool) {
	switch {
	case len(raw) < 2 || raw[0] != '"':
		return "", false
	case bytes.IndexByte(raw, '\\') < 0:
		return string(raw[1 : len(raw)-1]), true
	case halfPair(raw):
		return "", false
	}
	return unquote(raw), true
}

// halfPair reports whether a checked string escapes a surrogate without its
// other half.
func halfPair(quoted []byte) bool {
	high := false // the last thing was the first half of a pair
	for i := 0; i < len(quoted); i++ {
		var unit uint16 // 0 for what is no \u
		if quoted[i] == '\\' {
			if i++; quoted[i] == 'u' {
				var two [2]byte
				_, _ = hex.Decode(two[:], quoted[i+1:i+5]) // the scanner has seen four digits
				unit, i = binary.BigEndian.Uint16(two[:]), i+4
			}
		}
		low := unit >= 0xdc00 && unit <= 0xdfff
		if low != high {
			return true
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	return false // the closing quote ends a first half
}

// Repeats reports whether several members have that name.
func (o *Object) Repeats(key string) bool {
	n := 0
	for i := range o.members {
		if string(o.key(&o.members[i])) == key {
			n++
		}
	}
	return n > 1
}

// key is what the reader on the other side will compare.
func (o *Object) key(m *member) []byte {
	if m.escaped {
		return []byte(m.decoded)
	}
	return o.raw[m.keyStart+1 : m.keyEnd-1]
}

// Raw is the document as it was parsed.
func (o *Object) Raw() []byte { return o.raw }

// Get is the value of a member as written, nil if there is none. Of several
// members with one name the last counts, as in Python.
func (o *Object) Get(key string) json.RawMessage {
	m := o.last(key)
	if m == nil {
		return nil
	}
	return json.RawMessage(o.raw[m.valueStart:m.valueEnd:m.valueEnd])
}

// last is the last member of that name, nil if there is none.
func (o *Object) last(key string) *member {
	for i := len(o.members) - 1; i >= 0; i-- {
		if m := &o.members[i]; string(o.key(m)) == key {
			return m
		}
	}
	return nil
}

// Has reports whether there is a member of that name.
func (o *Object) Has(key string) bool { return o.Get(key) != nil }

// Edit sets one member, or deletes it.
type Edit struct {
	Key string // plain ASCII that needs no escape
	// Value is JSON; nil deletes every member of that name.
	Value json.RawMessage
}

// Set makes Key hold value.
func Set(key, value string) Edit { return Edit{Key: key, Value: json.RawMessage(value)} }

// Delete removes every Key.
func Delete(key string) Edit { return Edit{Key: key} }

// Elements returns the first values, at most that many, of a JSON array that is
// already known to be valid, as written; false if it is no array.
func Elements(array json.RawMessage, most int) ([]json.RawMessage, bool) {
	s := scanner{b: array}
	if s.peek() != '[' {
		return nil, false
	}
	var out []json.RawMessage
	err := s.array(0, func(start, end int) bool {
		out = append(out, json.RawMessage(array[start:end:end]))
		return len(out) < most // a prompt may be a list of millions of token ids
	})
	return out, err == nil
}
