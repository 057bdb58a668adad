package body

import "bytes"

// Pieces is an edited document as slices, to be sent one after another: long
// stretches of the original where they lie, and what is new between them. The
// zero Pieces is ready; it may be used again and again.
type Pieces struct {
	parts [][]byte
	fresh []byte // what is not from the original
	size  int
	// End of the last part in the original's offsets, -1 if it is fresh: what
	// follows on it without a gap joins it.
	rawEnd, rawStart int
}

// Parts are the slices. They are valid until the next Splice into p, and as
// long as the original's bytes are.
func (p *Pieces) Parts() [][]byte { return p.parts }

// Size is how many bytes they are.
func (p *Pieces) Size() int { return p.size }

// Bytes is the document in one piece of memory of its own.
func (p *Pieces) Bytes() []byte { return bytes.Join(p.parts, nil) }

// Forget drops what p refers to, so that a p that is kept keeps nothing else.
func (p *Pieces) Forget() {
	clear(p.parts[:cap(p.parts)])
	*p = Pieces{parts: p.parts[:0], fresh: p.fresh[:0], rawEnd: -1}
}

// Set makes p a document that is sent as it is.
func (p *Pieces) Set(raw []byte) {
	p.Forget()
	p.original(raw, 0, len(raw))
}

// original appends raw[from:to].
func (p *Pieces) original(raw []byte, from, to int) {
	if from == to {
		return
	}
	p.size += to - from
	if p.rawEnd == from && len(p.parts) > 0 {
		p.parts[len(p.parts)-1] = raw[p.rawStart:to:to]
	} else {
		p.parts = append(p.parts, raw[from:to:to])
		p.rawStart = from
	}
	p.rawEnd = to
}

// insert appends a new value behind what goes before it. fresh has room, so that
// no part moves.
func (p *Pieces) insert(value []byte, before ...string) {
	from := len(p.fresh)
	for _, s := range before {
		p.fresh = append(p.fresh, s...)
	}
	p.fresh = append(p.fresh, value...)
	p.size += len(p.fresh) - from
	if p.rawEnd < 0 && len(p.parts) > 0 {
		last := len(p.parts[len(p.parts)-1])
		p.parts[len(p.parts)-1] = p.fresh[from-last:]
	} else {
		p.parts = append(p.parts, p.fresh[from:])
	}
	p.rawEnd = -1
}

// Splice makes the document with the edits made. A member that is set keeps its
// place; of several with its name only the last stays, so that no reader can
// prefer another. New members follow the old ones. Nothing of the original is
// copied.
func (o *Object) Splice(p *Pieces, edits ...Edit) {
	p.Forget()
	p.reserve(edits)
	p.original(o.raw, 0, o.open)
	end, first := o.open, true
	var placed uint64 // a bit for each edit
	for i := range o.members {
		m := &o.members[i]
		before := end // where the comma and the space around it begin
		end = m.valueEnd
		e := find(edits, o.key(m))
		if e >= 0 && (edits[e].Value == nil || o.againAfter(i)) {
			continue
		}
		if first { // what it followed is gone
			p.original(o.raw, o.open, o.members[0].keyStart)
			first = false
		} else {
			p.original(o.raw, before, m.keyStart)
		}
		if e < 0 {
			p.original(o.raw, m.keyStart, m.valueEnd)
			continue
		}
		placed |= 1 << e
		p.original(o.raw, m.keyStart, m.valueStart)
		p.insert(edits[e].Value)
	}
	for i, e := range edits {
		if placed&(1<<i) != 0 || e.Value == nil {
			continue
		}
		comma := ","
		if first {
			comma, first = "", false
		}
		p.insert(e.Value, comma, `"`, e.Key, `":`)
	}
	p.original(o.raw, end, len(o.raw))
}

// reserve makes room for all that edits insert.
func (p *Pieces) reserve(edits []Edit) {
	need := 0
	for _, e := range edits {
		need += len(e.Key) + len(e.Value) + len(`,"":`)
	}
	if cap(p.fresh) < need {
		p.fresh = make([]byte, 0, need)
	}
}

// Apply is Splice in fresh memory.
func (o *Object) Apply(edits ...Edit) []byte {
	var p Pieces
	o.Splice(&p, edits...)
	return p.Bytes()
}

// againAfter reports whether a later member has the name of member i.
func (o *Object) againAfter(i int) bool {
	key := o.key(&o.members[i])
	for n := i + 1; n < len(o.members); n++ {
		if bytes.Equal(o.key(&o.members[n]), key) {
			return true
		}
	}
	return false
}

func find(edits []Edit, key []byte) int {
	for i := range edits {
		if edits[i].Key == string(key) {
			return i
		}
	}
	return -1
}
