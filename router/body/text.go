package body

import (
	"encoding/binary"
	"math/bits"
)

// text walks a string at its opening quote.
func (s *scanner) text() error {
	for s.i++; ; s.i++ {
		s.plain()
		if s.i == len(s.b) {
			return s.fail("string without an end")
		}
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return s.fail("control character in a string")
		default:
			s.seen |= uint64(c)
		}
	}
}

// near is how far a string is walked by words before it is by blocks: most are
// names and other short ones.
const near = 32

// plain goes on, past good escapes, to what else may end a string's plain text,
// or to the last few bytes of the document.
func (s *scanner) plain() {
	if s.words(min(len(s.b), s.i+near)) || hasBlocks && s.blocks() {
		return
	}
	s.words(len(s.b))
}

// words is plain up to the last few bytes before end, eight bytes at a time;
// stopped if there is something to be looked at before that.
func (s *scanner) words(end int) (stopped bool) {
	b, i, seen := s.b, s.i, s.seen
	for end-i > 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		seen |= x // with what follows the string: too much, which costs a look
		at := special(x) & highBits
		if at == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(at) / 8
		n := 0
		if b[i] == '\\' {
			n = escapeLen(b[i:])
		}
		if n == 0 {
			stopped = true
			break
		}
		i += n
	}
	s.i, s.seen = i, seen
	return stopped
}

const highBits = 0x8080808080808080

// special sets the high bit of each of eight bytes that is a quote, a backslash
// or a control character. Bytes behind the first such one may have theirs set
// for nothing; the other bits mean nothing.
func special(x uint64) uint64 {
	const ones = 0x0101010101010101
	quote, backslash := x^(ones*'"'), x^(ones*'\\')
	return (x-ones*0x20)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash
}

// blockSize is how many bytes are classified at a time: a bit of a word each.
const blockSize = 64

// blocks is plain up to the document's last block, or to one with a control
// character, which is words' to find.
func (s *scanner) blocks() (stopped bool) {
	b, i := s.b, s.i
	escaped := uint64(0) // 1 if the block's first byte is, by the last block's backslash
	for len(b)-i >= blockSize {
		quotes, backslashes, control, high := classify((*[blockSize]byte)(b[i:]))
		if control != 0 {
			break
		}
		if high != 0 {
			s.seen |= highBits
		}
		quotes &^= escaped
		backslashes &^= escaped
		escaped = 0
		for backslashes != 0 {
			at := backslashes & -backslashes // the first that is no escape's second byte
			if quotes&(at-1) != 0 {
				break // the string ends before it
			}
			n := i + bits.TrailingZeros64(at)
			if n+1 == len(b) || !isEscape[b[n+1]] && escapeLen(b[n:]) == 0 {
				s.i = n
				return true
			}
			quotes &^= at << 1
			backslashes &^= at | at<<1
			escaped = at >> (blockSize - 1)
		}
		if quotes != 0 {
			s.i = i + bits.TrailingZeros64(quotes)
			return true
		}
		i += blockSize
	}
	s.i = i - int(escaped)
	return false
}

// escapeLen is the length of the escape at the start of b, 0 if it is none that
// is known, or not all there.
func escapeLen(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case isEscape[b[1]]:
		return 2
	case b[1] == 'u' && len(b) >= 6 && isHex[b[2]] && isHex[b[3]] && isHex[b[4]] && isHex[b[5]]:
		return 6
	}
	return 0
}

// escape walks from a backslash to the last byte of its escape.
func (s *scanner) escape() error {
	if n := escapeLen(s.b[s.i:]); n > 0 {
		s.i += n - 1
		return nil
	}
	s.i++
	if s.peek() != 'u' {
		return s.fail("unknown escape in a string")
	}
	for s.i++; isHex[s.peek()]; {
		s.i++
	}
	return s.fail("want four hexadecimal digits after \\u")
}

// isEscape is whether a byte is an escape by itself after a backslash.
var isEscape = set(`"\/bfnrt`)

// isHex is whether a byte is a hexadecimal digit.
var isHex = set("0123456789abcdefABCDEF")

func set(members string) (is [256]bool) {
	for _, c := range []byte(members) {
		is[c] = true
	}
	return is
}
