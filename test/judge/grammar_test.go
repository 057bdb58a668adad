package judge

import (
	"strconv"
	"strings"
	"unicode/utf16"
)

// grammar writes a document by choices, which are a fuzzer's bytes. It mostly
// writes JSON, of the kind that two readers could read differently, and breaks
// it now and then. Without choices left it takes the first and plainest, so
// that each document ends.
type grammar struct {
	choices []byte
	out     []byte
	depth   int
}

// write writes a request, or a prefill's answer.
func write(answer bool, choices []byte) []byte {
	g := &grammar{choices: choices}
	g.space()
	if answer {
		g.object(answerKeys, answerValues)
	} else {
		g.object(requestKeys, requestValues)
	}
	g.space()
	return g.breakIt()
}

// pick is the next choice, below n, which is at most 256.
func (g *grammar) pick(n int) int {
	if len(g.choices) == 0 {
		return 0
	}
	c := g.choices[0]
	g.choices = g.choices[1:]
	return int(c) % n
}

// rarely is true once in 256/16 choices.
func (g *grammar) rarely() bool { return g.pick(256) >= 240 }

func (g *grammar) put(s string) { g.out = append(g.out, s...) }

func one[T any](g *grammar, from []T) T { return from[g.pick(len(from))] }

func (g *grammar) word(from words) string {
	if g.pick(256) == 255 {
		return one(g, from.bad)
	}
	return one(g, from.good)
}

func (g *grammar) space() {
	if g.rarely() {
		g.put(g.word(spaces))
	}
}

// object writes members with names and values that matter, or with any.
func (g *grammar) object(keys []string, values []string) {
	g.put("{")
	for n := range g.pick(8) {
		if n > 0 {
			g.put(g.word(commas))
		}
		g.space()
		g.key(keys)
		g.space()
		g.put(":")
		g.space()
		if g.pick(3) == 2 {
			g.value()
		} else {
			g.put(one(g, values))
		}
		g.space()
	}
	g.put("}")
}

// key writes a name, some of its letters escaped, or cut, or drawn out.
func (g *grammar) key(keys []string) {
	name := one(g, keys)
	switch g.pick(16) {
	case 12:
		name = strings.ToUpper(name)
	case 13:
		name += one(g, oddities)
	case 14:
		name = name[:g.pick(len(name)+1)]
	case 15:
		name = strings.Repeat(name, 1+g.pick(64))
	}
	g.put(`"`)
	escapes := g.pick(4) == 3
	for _, c := range []byte(name) {
		if escapes && g.pick(4) == 3 {
			g.escape(uint16(c))
		} else {
			g.out = append(g.out, c)
		}
	}
	g.put(`"`)
}

// escape writes \u and four digits of either case.
func (g *grammar) escape(c uint16) {
	digits := strconv.FormatUint(uint64(c)|1<<16, 16)[1:]
	if g.pick(2) == 1 {
		digits = strings.ToUpper(digits)
	}
	g.put(`\u` + digits)
}

func (g *grammar) value() {
	g.depth++
	defer func() { g.depth-- }()
	what := g.pick(8)
	if g.depth > 12 {
		what %= 5
	}
	switch what {
	case 0, 1:
		g.put(g.word(numbers))
	case 2, 3:
		g.put(`"` + g.word(texts) + g.word(texts) + `"`)
	case 4:
		g.put(g.word(literals))
	case 5:
		g.object(requestKeys, requestValues)
	case 6:
		g.array()
	case 7:
		n := []int{3, 20, 490, 498, 499, 500, 501, 990, 1000, 1100}[g.pick(10)]
		open, end := one(g, []string{"[", `{"a":`}), "]"
		if open != "[" {
			end = "}"
		}
		g.put(strings.Repeat(open, n) + "1" + strings.Repeat(end, n))
	}
}

func (g *grammar) array() {
	g.put("[")
	for n := range g.pick(5) {
		if n > 0 {
			g.put(g.word(commas))
		}
		g.space()
		g.value()
		g.space()
	}
	g.put("]")
}

// breakIt sometimes breaks what was written, or writes it in another encoding.
func (g *grammar) breakIt() []byte {
	switch g.pick(32) {
	case 24:
		return append([]byte("\xef\xbb\xbf"), g.out...)
	case 25:
		return g.utf16(g.pick(4))
	case 26:
		return g.out[:len(g.out)*g.pick(256)/256]
	case 27:
		return append(g.out, one(g, oddities)...)
	case 28:
		return append(g.out, g.out...)
	case 29, 30:
		at := (g.pick(256)<<8 + g.pick(256)) % (len(g.out) + 1)
		return append(append(append([]byte(nil), g.out[:at]...), one(g, oddities)...), g.out[at:]...)
	case 31: // many members
		n := []int{1, 1000, 1022, 1023, 1024, 1025, 1100}[g.pick(7)]
		many := strings.Repeat(one(g, []string{`"a":1,`, `"kv_transfer_params":1,`, `"vllm_xargs":{"kv_transfer_params":1},`}), n)
		return []byte("{" + many + strings.TrimPrefix(strings.TrimLeft(string(g.out), " \t\r\n"), "{"))
	}
	return g.out
}

// utf16 is the document in UTF-16, in either order of bytes, with a mark or not.
func (g *grammar) utf16(how int) []byte {
	text := []rune(string(g.out))
	if how&1 == 1 {
		text = append([]rune{0xfeff}, text...)
	}
	var out []byte
	for _, u := range utf16.Encode(text) {
		if how&2 == 2 {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}
