package sse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJudgeWhole_verdicts(t *testing.T) {
	for answer, want := range map[string]Verdict{
		`{"choices":[{"text":"a","finish_reason":"stop"}],"usage":{"completion_tokens":1}}`:      Token,
		`{"choices":[{"text":"\"finish_reason\":\"abort\"","finish_reason":"stop"}]}`:            Token,
		`{"choices":[{"text":"\"completion_tokens\":0,"}],"usage":{"completion_tokens":10}}`:     Token,
		`{"choices":[{"text":"","finish_reason":"abort"}]}`:                                      Aborted,
		`{"choices":[{"text":""}],"usage":{"prompt_tokens":3,"completion_tokens":0}}`:            Empty,
		`{"choices":[{"text":""}],"usage":{"completion_tokens":0,"prompt_tokens_details":null}}`: Empty,
		`{"choices":[]}`:    Empty,
		``:                  Garbage,
		`{"choices":[`:      Garbage,
		`<html>`:            Garbage,
		`upstream is away`:  Garbage,
		`{"choices":[]} {}`: Garbage,
	} {
		require.Equal(t, want, OpenAI.JudgeWhole([]byte(answer)), answer)
	}
}
