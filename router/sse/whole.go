package sse

import (
	"bytes"
	"encoding/json"
)

// JudgeWhole judges an answer that was not streamed. Its text cannot be taken
// for what is looked for, because quotes inside it are escaped.
func (p Protocol) JudgeWhole(answer []byte) Verdict {
	switch {
	case !json.Valid(answer):
		return Garbage
	case p.abortedWhole(answer):
		return Aborted
	case p == OpenAI && bytes.Contains(answer, []byte(`"choices":[]`)), p.noTokens(answer):
		return Empty
	}
	return Token
}

// noTokens reports whether the answer's usage counts no token that was written.
func (p Protocol) noTokens(answer []byte) bool {
	count := `"completion_tokens":0`
	if p != OpenAI {
		count = `"output_tokens":0`
	}
	_, rest, ok := bytes.Cut(answer, []byte(count))
	return ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}')
}
