package sse

import (
	"bytes"
	"encoding/json"
)

// JudgeWhole judges an answer that was not streamed. Its text cannot be taken
// for what is looked for, because quotes inside it are escaped.
func JudgeWhole(answer []byte) Verdict {
	switch {
	case !json.Valid(answer):
		return Garbage
	case bytes.Contains(answer, []byte(`"finish_reason":"abort"`)):
		return Aborted
	case bytes.Contains(answer, []byte(`"choices":[]`)), noTokens(answer):
		return Empty
	}
	return Token
}

// noTokens reports whether the answer's usage counts no token that was written.
func noTokens(answer []byte) bool {
	_, rest, ok := bytes.Cut(answer, []byte(`"completion_tokens":0`))
	return ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}')
}
