package http1

import (
	"bytes"
	"errors"
)

var errJSON = errors.New("not a JSON object")

// Members passes on each top-level member of a JSON object: its key without
// quotes, as written, and its raw value. It looks at structure only; it must
// stay cheap at 220 KiB, and the engines decode a sample of bodies in full.
func Members(b []byte, member func(key, value []byte)) error {
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return errJSON
	}
	if i = space(b, i+1); i < len(b) && b[i] == '}' {
		return nil
	}
	for {
		start := space(b, i)
		end := str(b, start)
		if end < 0 {
			return errJSON
		}
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return errJSON
		}
		from := space(b, i+1)
		to := value(b, from)
		if to < 0 {
			return errJSON
		}
		member(b[start+1:end-1], bytes.TrimRight(b[from:to], " \t\r\n"))
		switch i = space(b, to); {
		case i < len(b) && b[i] == ',':
			i++
		case i < len(b) && b[i] == '}':
			return nil
		default:
			return errJSON
		}
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// str is the end of the string that starts at i, -1 if there is none.
func str(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		back := 0
		for b[i+n-1-back] == '\\' {
			back++
		}
		i += n + 1
		if back%2 == 0 {
			return i
		}
	}
}

// value is the end of the value that starts at i, -1 if there is none.
func value(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = str(b, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}
