package body

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxDepth is the deepest nesting that is accepted. Python gives up at about
// 1000, by default; what we accept it must be able to read.
const maxDepth = 500

// maxDigits is the most digits of a whole number that Python reads, by default.
// vLLM answers 400 to more; where the number would be edited away for one leg,
// the other would be the first to say so.
const maxDigits = 4300

// SyntaxError is why a document is not accepted. It never quotes the document,
// which holds the prompt.
type SyntaxError struct {
	Offset int // bytes from the start
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Reason)
}

// scanner walks one document and checks its grammar.
type scanner struct {
	b []byte
	i int
	// seen is all bytes of strings or-ed together, eight at a time: without a
	// high bit there is nothing but ASCII, and no UTF-8 to be checked.
	seen uint64
	// inner becomes the object that is the top's member innerName; it may be nil.
	innerName string
	inner     *Object
}

func (s *scanner) fail(reason string) error { return &SyntaxError{Offset: s.i, Reason: reason} }

func (s *scanner) space() {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return
	}
	s.spaces()
}

func (s *scanner) spaces() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the byte at the scanner, 0 at the end (0 is nowhere valid JSON).
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// value walks one value of any kind.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth, nil)
	case c == '"':
		return s.text()
	case c == '-' || (c >= '0' && c <= '9'):
		return s.number()
	default:
		return s.literal()
	}
}

// object walks an object at '{' and adds each member to into, if given.
func (s *scanner) object(depth int, into *Object) error {
	if depth >= maxDepth {
		return s.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	s.i++
	s.space()
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail("want a member name in double quotes")
		}
		keyStart := s.i
		if err := s.text(); err != nil {
			return err
		}
		keyEnd := s.i
		s.space()
		if s.peek() != ':' {
			return s.fail("want ':' after a member name")
		}
		s.i++
		s.space()
		valueStart := s.i
		var err error
		if into != nil && s.inner != nil && into != s.inner && s.peek() == '{' && string(s.b[keyStart+1:keyEnd-1]) == s.innerName {
			s.inner.begin(s)
			err = s.object(depth+1, s.inner)
		} else {
			err = s.value(depth + 1)
		}
		if err != nil {
			return err
		}
		if into != nil {
			into.add(keyStart, keyEnd, valueStart, s.i)
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			return nil
		default:
			return s.fail("want ',' or '}' after a member")
		}
	}
}

// array walks an array at '[' and tells element, if given, each value's
// offsets, until that has enough.
func (s *scanner) array(depth int, element func(start, end int) (more bool)) error {
	if depth >= maxDepth {
		return s.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	s.i++
	s.space()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if element == nil {
			s.i += Numbers(s.b[s.i:])
			s.space()
		}
		start := s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if element != nil && !element(start, s.i) {
			return nil
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return nil
		default:
			return s.fail("want ',' or ']' after an element")
		}
	}
}

// number walks a number; "-" alone, leading zeros and bare points are errors.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.i++
	}
	first := s.i
	if s.peek() == '0' {
		s.i++
	} else if !s.digits() {
		return s.fail("want a digit")
	}
	if c := s.peek(); s.i-first > maxDigits && c != '.' && c != 'e' && c != 'E' {
		return s.fail(fmt.Sprintf("whole number of more than %d digits", maxDigits))
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return s.fail("want a digit after the point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return s.fail("want a digit in the exponent")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i > start
}

// literal walks true, false or null. Python also reads NaN and Infinity; no
// request needs them and other readers differ on them, so they are refused.
func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
			s.i += len(word)
			return nil
		}
	}
	if s.i >= len(s.b) {
		return s.fail("ends too early")
	}
	return s.fail("want a value")
}

// start checks what a document may begin with.
func (s *scanner) start() error {
	if bytes.HasPrefix(s.b, []byte("\xef\xbb\xbf")) {
		return s.fail("starts with a byte order mark; leave it out")
	}
	s.space()
	if s.i == len(s.b) {
		return s.fail("empty")
	}
	return nil
}

// end checks that nothing but space follows, and that the strings are UTF-8:
// nothing else in a document can be anything but ASCII.
func (s *scanner) end() error {
	s.space()
	if s.i != len(s.b) {
		return s.fail("something follows the value")
	}
	if s.seen&highBits != 0 && !utf8.Valid(s.b) {
		return s.fail("not UTF-8")
	}
	return nil
}

// Valid reports whether b is one JSON value, by the rules of Parse.
func Valid(b []byte) bool {
	s := scanner{b: b}
	return s.start() == nil && s.value(0) == nil && s.end() == nil
}
