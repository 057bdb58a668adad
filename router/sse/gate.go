package sse

import (
	"bytes"
	"errors"
	"io"
)

// Verdict is what the beginning of a stream turned out to be.
type Verdict int

// The verdicts.
const (
	// Token: the answer has begun.
	Token Verdict = iota
	// Failed: an error event came before any token.
	Failed
	// Empty: the stream ended before any token. vLLM ends a completion whose
	// KV load failed like this, with status 200 and no error.
	Empty
	// Aborted: the server gave the answer up before any token, which is what
	// one that is being stopped does.
	Aborted
	// Garbage: an answer that was not streamed is no JSON.
	Garbage
)

// maxHeld bounds what Gate holds back; a stream that has said so much without
// a token is passed on as it is.
const maxHeld = 256 << 10

// Gate reads a stream into buf, or into more memory if that is not enough,
// until its first token and returns what it has read, which may end in the
// middle of a later event. Until then nothing need be committed to the client.
// An error is the reader's: the stream broke off.
func (p Protocol) Gate(r io.Reader, buf []byte) (held []byte, v Verdict, err error) {
	buf = buf[:0]
	line := 0 // start of the first line that is not judged yet
	for len(buf) < maxHeld {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for {
			end := bytes.IndexByte(buf[line:], '\n')
			if end < 0 {
				break
			}
			v, done := p.judge(buf[line : line+end])
			if done {
				return buf, v, nil
			}
			line += end + 1
		}
		switch {
		case errors.Is(err, io.EOF):
			return buf, Empty, nil
		case err != nil:
			return buf, Empty, err
		}
	}
	return buf, Token, nil
}

// judge reads one line of the stream; done if it settles the verdict.
func (p Protocol) judge(line []byte) (v Verdict, done bool) {
	data, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("data:"))
	if !ok {
		return Token, false
	}
	data = bytes.TrimSpace(data)
	switch p {
	case Responses:
		return judgeResponse(data)
	case Messages:
		return judgeMessage(data)
	}
	return judgeChunk(data)
}
