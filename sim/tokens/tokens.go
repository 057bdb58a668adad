package tokens

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ids below firstWord stand for the chat markers and for single bytes, ids
// from firstWord for whole words, ids from firstPiece for up to maxPiece bytes
// of text packed into the number, so that every text round-trips.
const (
	Start = 2 // opens a chat message, "<|im_start|>"
	End   = 3 // closes a chat message, "<|im_end|>"

	firstByte  = 16
	firstWord  = 1000
	firstPiece = 1 << 20
	maxPiece   = 4
)

// Encode cuts a text into tokens: known words with their leading space are one
// token, everything else goes in pieces of at most four bytes that never cut a
// rune. English comes to somewhat under four characters a token.
func Encode(text string) []int {
	out := make([]int, 0, len(text)/3+1)
	for len(text) > 0 {
		n := wordLen(text)
		if id, ok := wordID(text[:n]); ok {
			out = append(out, id)
		} else {
			out = appendPieces(out, text[:n])
		}
		text = text[n:]
	}
	return out
}

// wordLen is the length of the next word: one optional space and a run of
// letters and digits, or of neither. Letters and digits go together so that
// texts that differ only in random hexadecimal are equally long in tokens.
func wordLen(text string) int {
	n := 0
	if text[0] == ' ' {
		n = 1
	}
	kind := -1
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		k := class(r)
		if kind >= 0 && k != kind || kind >= 0 && k == classSpace {
			break
		}
		kind = k
		n += size
	}
	return max(n, 1)
}

const (
	classWord = iota
	classSpace
	classOther
)

func class(r rune) int {
	switch {
	case unicode.IsLetter(r), unicode.IsDigit(r):
		return classWord
	case r == ' ' || r == '\n' || r == '\t':
		return classSpace
	}
	return classOther
}

func appendPieces(out []int, word string) []int {
	for len(word) > 0 {
		if control(word[0]) {
			out = append(out, firstByte+int(word[0]))
			word = word[1:]
			continue
		}
		n := 0
		for n < len(word) {
			_, size := utf8.DecodeRuneInString(word[n:])
			if n > 0 && (n+size > maxPiece || control(word[n])) {
				break
			}
			n += size
		}
		out = append(out, pack(word[:n]))
		word = word[n:]
	}
	return out
}

// control reports whether a byte never goes into a piece.
func control(b byte) bool { return b < ' ' && b != '\n' && b != '\t' && b != '\r' || b == 0x7f }

// Valid reports whether an id is in the vocabulary: any small one, and those
// that stand for a piece of text.
func Valid(id int) bool {
	if id < firstPiece {
		return id >= 0
	}
	text := unpack(id - firstPiece)
	for i := 0; i < len(text); i++ {
		if control(text[i]) {
			return false
		}
	}
	return pack(text) == id
}

func pack(piece string) int {
	v := 0
	for i := 0; i < len(piece); i++ {
		v = v<<8 | int(piece[i])
	}
	return firstPiece + v<<2 + len(piece) - 1
}

// Decode is the text of one token; an id that stands for nothing has a
// printable name of its own, as unused ids of a real vocabulary do.
func Decode(id int) string {
	switch {
	case id == Start:
		return "<|im_start|>"
	case id == End:
		return "<|im_end|>"
	case id >= firstByte && id < firstByte+256:
		return string(rune(id - firstByte))
	case id >= firstWord && id < firstWord+len(words):
		return " " + words[id-firstWord]
	case id >= firstPiece:
		return unpack(id - firstPiece)
	}
	return "\u00b7"
}

func unpack(v int) string {
	n := v&3 + 1
	v >>= 2
	var b [maxPiece]byte
	for i := n - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
	return strings.ToValidUTF8(string(b[:n]), "\ufffd")
}

// DecodeAll is the text of a run of tokens.
func DecodeAll(ids []int) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(Decode(id))
	}
	return b.String()
}

// Words is how many tokens a generated answer is drawn from.
func Words() int { return len(words) }

// Word is the i-th token that generated text may contain.
func Word(i int) int { return firstWord + i }

func wordID(word string) (int, bool) {
	if len(word) < 2 || word[0] != ' ' {
		return 0, false
	}
	lo, hi := 0, len(words)
	for lo < hi {
		mid := (lo + hi) / 2
		if words[mid] < word[1:] {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(words) && words[lo] == word[1:] {
		return firstWord + lo, true
	}
	return 0, false
}

// Message is one turn of a chat.
type Message struct {
	Role, Content string
}

// Chat is the prompt of a conversation: each turn between markers, then the
// opening of the answer. Its last token is the same for every conversation,
// as with real chat templates.
func Chat(messages []Message, generate bool) []int {
	var out []int
	for _, m := range messages {
		out = append(out, Start)
		out = append(out, Encode(m.Role)...)
		out = append(out, Encode("\n")...)
		out = append(out, Encode(m.Content)...)
		out = append(out, End)
		out = append(out, Encode("\n")...)
	}
	if generate {
		out = append(out, Start)
		out = append(out, Encode("assistant")...)
		out = append(out, Encode("\n")...)
	}
	return out
}
