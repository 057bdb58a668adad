package body

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Object is a parsed JSON object over the bytes that it was parsed from. It
// is immutable; the bytes must not change while it is in use.
type Object struct {
	raw     []byte
	members []member
	open    int // offset just past '{'
}

// member is one top-level member, as offsets into raw.
type member struct {
	key                            string // decoded
	keyStart, valueStart, valueEnd int
}

// maxMembers is the most top-level members that are accepted. vLLM's requests
// have some sixty; a body of millions would cost a hundred times its size.
const maxMembers = 1024

// Parse checks a whole document and indexes the members of its top level. The
// error is a *SyntaxError.
func Parse(raw []byte) (*Object, error) {
	s := scanner{b: raw}
	if err := s.start(); err != nil {
		return nil, err
	}
	if s.peek() != '{' {
		return nil, s.fail("want an object")
	}
	o := &Object{raw: raw, open: s.i + 1, members: make([]member, 0, 16)}
	err := s.object(0, func(keyStart, keyEnd, valueStart, valueEnd int) {
		if len(o.members) > maxMembers {
			return
		}
		o.members = append(o.members, member{
			key: decodeKey(raw[keyStart:keyEnd]), keyStart: keyStart, valueStart: valueStart, valueEnd: valueEnd,
		})
	})
	if err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if len(o.members) > maxMembers {
		return nil, s.fail(fmt.Sprintf("more than %d members at the top level", maxMembers))
	}
	return o, nil
}

// decodeKey turns a quoted key into what the reader on the other side will
// compare: escapes must not hide a name.
func decodeKey(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var key string
	_ = json.Unmarshal(quoted, &key) // the scanner has checked it
	return key
}

// Raw is the document as it was parsed.
func (o *Object) Raw() []byte { return o.raw }

// Get is the value of a member as written, nil if there is none. Of several
// members with one name the last counts, as in Python.
func (o *Object) Get(key string) json.RawMessage {
	for i := len(o.members) - 1; i >= 0; i-- {
		if m := o.members[i]; m.key == key {
			return json.RawMessage(o.raw[m.valueStart:m.valueEnd:m.valueEnd])
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

// Apply returns the document with the edits made, in fresh memory. A member
// that is set keeps its place; of several with its name only the last stays,
// so that no reader can prefer another. New members follow the old ones.
func (o *Object) Apply(edits ...Edit) []byte {
	size := len(o.raw)
	for _, e := range edits {
		size += len(e.Key) + len(e.Value) + len(`,"":`)
	}
	out := append(make([]byte, 0, size), o.raw[:o.open]...)
	end, first := o.open, true
	placed := make([]bool, len(edits))
	for i, m := range o.members {
		before := o.raw[end:m.keyStart] // the comma and the space around it
		end = m.valueEnd
		e := find(edits, m.key)
		if e >= 0 && (edits[e].Value == nil || o.againAfter(i)) {
			continue
		}
		if first {
			before = o.raw[o.open:o.members[0].keyStart] // what it followed is gone
			first = false
		}
		out = append(out, before...)
		if e < 0 {
			out = append(out, o.raw[m.keyStart:m.valueEnd]...)
			continue
		}
		placed[e] = true
		out = append(out, o.raw[m.keyStart:m.valueStart]...)
		out = append(out, edits[e].Value...)
	}
	for i, e := range edits {
		if placed[i] || e.Value == nil {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(append(append(append(out, '"'), e.Key...), '"', ':'), e.Value...)
	}
	return append(out, o.raw[end:]...)
}

// againAfter reports whether a later member has the name of member i.
func (o *Object) againAfter(i int) bool {
	for _, m := range o.members[i+1:] {
		if m.key == o.members[i].key {
			return true
		}
	}
	return false
}

func find(edits []Edit, key string) int {
	for i := range edits {
		if edits[i].Key == key {
			return i
		}
	}
	return -1
}

// Elements returns the first values, at most that many, of a JSON array that is
// already known to be valid, as written; false if it is no array.
func Elements(array json.RawMessage, most int) ([]json.RawMessage, bool) {
	s := scanner{b: array}
	if s.peek() != '[' {
		return nil, false
	}
	var out []json.RawMessage
	err := s.array(0, func(start, end int) {
		if len(out) < most { // a prompt may be a list of millions of token ids
			out = append(out, json.RawMessage(array[start:end:end]))
		}
	})
	return out, err == nil
}
