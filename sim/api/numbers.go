package api

import "bytes"

// notFinite marks a number that JSON does not know and Python does.
const notFinite = "\x00"

// pythonNumbers puts a marked text in place of NaN and Infinity, which Python's
// parser takes. It keeps everything else at its place up to there.
func pythonNumbers(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("NaN")) && !bytes.Contains(raw, []byte("Infinity")) {
		return raw
	}
	var out []byte
	quoted := false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case quoted && c == '\\' && i+1 < len(raw):
			out = append(out, c)
			i++
			c = raw[i]
		case c == '"':
			quoted = !quoted
		case !quoted:
			for _, word := range []string{"NaN", "-Infinity", "Infinity"} {
				if bytes.HasPrefix(raw[i:], []byte(word)) {
					out = append(out, `"\u0000`+word...)
					i += len(word) - 1
					c = '"'
					break
				}
			}
		}
		out = append(out, c)
	}
	return out
}
