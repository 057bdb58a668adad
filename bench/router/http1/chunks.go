package http1

import "fmt"

// Dechunker decodes a chunked body that comes in pieces cut anywhere. The zero
// value is at the start of a body; trailers are not expected.
type Dechunker struct {
	state state
	left  int // bytes of the chunk to come
	size  int // of the chunk whose size is being read
}

type state int

const (
	inSize state = iota
	inExtension
	inData
	afterData
	afterLast
	ended
)

// Done reports whether the body has ended.
func (d *Dechunker) Done() bool { return d.state == ended }

// Feed takes bytes and passes on those of the body. It returns how many it
// used: all of them, unless the body ended.
func (d *Dechunker) Feed(b []byte, piece func([]byte) error) (used int, err error) {
	for used < len(b) && d.state != ended {
		if d.state == inData {
			n := min(d.left, len(b)-used)
			if err := piece(b[used : used+n]); err != nil {
				return used, err
			}
			used += n
			if d.left -= n; d.left == 0 {
				d.state = afterData
			}
			continue
		}
		if err := d.step(b[used]); err != nil {
			return used, err
		}
		used++
	}
	return used, nil
}

// step takes one byte outside of the data.
func (d *Dechunker) step(c byte) error {
	switch {
	case c == '\r':
	case c == '\n' && d.state == afterData:
		d.state, d.size = inSize, 0
	case c == '\n' && d.state == afterLast:
		d.state = ended
	case c == '\n': // of the size
		if d.state, d.left = inData, d.size; d.size == 0 {
			d.state = afterLast
		}
	case d.state == inSize && (c == ';' || c == ' '):
		d.state = inExtension
	case d.state == inExtension:
	case d.state == inSize && d.size < 1<<24:
		v, ok := hex(c)
		if !ok {
			return fmt.Errorf("read chunk: %q in its size", c)
		}
		d.size = d.size<<4 | v
	default:
		return fmt.Errorf("read chunk: %q where it should end", c)
	}
	return nil
}

func hex(c byte) (int, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}
