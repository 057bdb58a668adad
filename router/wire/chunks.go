package wire

// Bounds of what a chunked body may say beside its data.
const (
	maxChunkLine = 256     // a size with its extensions
	maxTrailer   = 8 << 10 // all trailer fields
)

// chunkState is where a chunked reader stands.
//
//	size -> sizeLF -> data -> dataCR -> dataLF -> size ...
//	   |       |
//	   ext     +-> (size 0) trailer <-> name, value -> ... -> done
type chunkState uint8

const (
	chunkSize    chunkState = iota // in the hexadecimal size
	chunkExt                       // in an extension, which is skipped
	chunkSizeLF                    // after the size's CR
	chunkData                      // left bytes of data to go
	chunkDataCR                    // after the data
	chunkDataLF                    // after the data's CR
	chunkTrailer                   // at the beginning of a trailer line
	chunkName                      // in a trailer line's name
	chunkValue                     // behind its colon
	chunkFieldLF                   // after a trailer line's CR
	chunkEndLF                     // after the last CR
	chunkDone
)

// Chunks takes a chunked body apart (RFC 9112, 7.1). It keeps no bytes: what
// arrives is decoded in place. The zero Chunks is ready.
type Chunks struct {
	state  chunkState
	left   int64 // of the current chunk's data
	digits int   // of the current size
	line   int   // bytes of the current size line, or of the whole trailer
}

// Decode moves the data in p to p's front. n is how much it is; used is less
// than len(p) only if the body ended before.
func (c *Chunks) Decode(p []byte) (n, used int, err error) {
	i := 0
	for i < len(p) && c.state != chunkDone {
		if c.state == chunkData {
			m := int(min(c.left, int64(len(p)-i)))
			if n != i {
				copy(p[n:], p[i:i+m])
			}
			n, i = n+m, i+m
			if c.left -= int64(m); c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		if err := c.step(p[i]); err != nil {
			return n, i, err
		}
		i++
	}
	return n, i, nil
}

// Done reports whether the body, its trailer included, is over.
func (c *Chunks) Done() bool { return c.state == chunkDone }

// step takes one byte that is not data.
func (c *Chunks) step(b byte) error {
	switch c.state {
	case chunkSize, chunkExt, chunkSizeLF:
		return c.sizeLine(b)
	case chunkDataCR:
		return c.expect(b, '\r', chunkDataLF)
	case chunkDataLF:
		return c.expect(b, '\n', chunkSize)
	case chunkEndLF:
		return c.expect(b, '\n', chunkDone)
	}
	return c.trailer(b)
}

func (c *Chunks) expect(b, want byte, next chunkState) error {
	if b != want {
		return Malformed("bad end of a chunk")
	}
	c.state = next
	return nil
}

func (c *Chunks) sizeLine(b byte) error {
	if c.line++; c.line > maxChunkLine {
		return Malformed("chunk line too long")
	}
	switch {
	case c.state == chunkSizeLF:
		next := chunkData
		if c.left == 0 {
			next = chunkTrailer
		}
		c.digits, c.line = 0, 0
		return c.expect(b, '\n', next)
	case b == '\r' && c.digits > 0:
		c.state = chunkSizeLF
	case c.state == chunkExt:
		if b < ' ' && b != '\t' || b == 0x7f {
			return Malformed("control character in a chunk extension")
		}
	case b == ';' && c.digits > 0:
		c.state = chunkExt
	default:
		v := hex(b)
		if v < 0 || c.digits == 15 { // 15 digits cannot overflow
			return Malformed("bad chunk size")
		}
		c.left, c.digits = c.left<<4|int64(v), c.digits+1
	}
	return nil
}

// trailer skips fields up to an empty line.
func (c *Chunks) trailer(b byte) error {
	if c.line++; c.line > maxTrailer {
		return Malformed("trailer too long")
	}
	switch {
	case c.state == chunkFieldLF:
		return c.expect(b, '\n', chunkTrailer)
	case b == '\r' && c.state == chunkTrailer:
		c.state = chunkEndLF
	case b == '\r' && c.state == chunkValue:
		c.state = chunkFieldLF
	case b == ':' && c.state == chunkName:
		c.state = chunkValue
	case c.state == chunkValue && (b >= ' ' || b == '\t') && b != 0x7f:
	case c.state != chunkValue && IsToken(string(rune(b))):
		c.state = chunkName
	default:
		return Malformed("bad trailer field")
	}
	return nil
}

// hex is a digit's value, -1 if it is none.
func hex(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}
