package buffer

import (
	"errors"
	"io"
	"sync"
)

// smallest is the first class; each is four times the one before.
const (
	smallest = 4 << 10
	classes  = 8 // the last is 64 MiB
)

// trusted is how much a length that is only claimed may cost before any of it
// has come.
const trusted = 1 << 20

// Buffer is borrowed memory.
type Buffer struct {
	B     []byte // all of it; slice it at will
	class int    // -1: too large to be kept
	pool  *Pool
}

// Free gives the buffer back. It may be nil; it must not be used after.
func (b *Buffer) Free() {
	if b == nil || b.class < 0 {
		return
	}
	b.B = b.B[:cap(b.B)]
	b.pool.class[b.class].Put(b)
}

// Pool lends buffers. The zero Pool is ready.
type Pool struct {
	class [classes]sync.Pool
}

// Get lends a buffer of at least n bytes.
func (p *Pool) Get(n int) *Buffer {
	class, size := 0, smallest
	for size < n && class < classes {
		class, size = class+1, size*4
	}
	if class == classes {
		return &Buffer{B: make([]byte, n), class: -1, pool: p}
	}
	if b, ok := p.class[class].Get().(*Buffer); ok {
		return b
	}
	return &Buffer{B: make([]byte, size), class: class, pool: p}
}

// ErrTooLarge is what ReadAll says of a reader that holds more than it may.
var ErrTooLarge = errors.New("too large")

// ReadAll reads r to its end into one buffer, of which B is what was read. length is how
// much is expected, -1 if nobody knows; most is how much there may be. On an
// error nothing is lent.
func (p *Pool) ReadAll(r io.Reader, length, most int64) (*Buffer, error) {
	first := int64(smallest)
	if length > 0 {
		first = min(length, trusted)
	}
	b := p.Get(int(first))
	n := 0
	for {
		if n == len(b.B) {
			if int64(n) > most {
				b.Free()
				return nil, ErrTooLarge
			}
			b = p.Grow(b)
		}
		m, err := r.Read(b.B[n:])
		n += m
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			b.Free()
			return nil, err
		case int64(n) > most:
			b.Free()
			return nil, ErrTooLarge
		default:
			b.B = b.B[:n]
			return b, nil
		}
	}
}

// Grow exchanges a full buffer for a larger one with the same beginning.
func (p *Pool) Grow(b *Buffer) *Buffer {
	larger := p.Get(len(b.B) * 4)
	copy(larger.B, b.B)
	b.Free()
	return larger
}
