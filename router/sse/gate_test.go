package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const (
	role  = `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	token = `data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}` + "\n\n"
	blank = `data: {"choices":[{"index":0,"text":"","finish_reason":null}]}` + "\n\n" // half a character is a token too
	usage = `data: {"choices":[],"usage":{"prompt_tokens":3}}` + "\n\n"
	done  = "data: [DONE]\n\n"
)

func TestGate_verdicts(t *testing.T) {
	failed := `data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}` + "\n\n"
	for name, c := range map[string]struct {
		stream string
		want   Verdict
	}{
		"chat":                  {role + token + done, Token},
		"completion":            {blank + blank + done, Token},
		"role carries text":     {strings.Replace(role, `""`, `"x"`, 1) + done, Token},
		"ends at once":          {role + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" + done, Token},
		"aborted":               {role + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}` + "\n\n" + done, Aborted},
		"aborted later":         {token + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}` + "\n\n" + done, Token},
		"error first":           {role + failed + done, Failed},
		"error later":           {role + token + failed + done, Token},
		"client's error":        {role + strings.Replace(failed, "500", "400", 1) + done, Token},
		"null error":            {`data: {"error":null,"choices":[{"index":0,"text":"a"}]}` + "\n\n", Token},
		"usage only":            {usage + done, Empty},
		"role only":             {role + usage + done, Empty},
		"done only":             {done, Empty},
		"nothing":               {"", Empty},
		"comments":              {": ping\n\nevent: x\n\n" + done, Empty},
		"carriage returns":      {strings.ReplaceAll(role+token, "\n", "\r\n"), Token},
		"no space after colon":  {strings.ReplaceAll(token, "data: ", "data:"), Token},
		"not vLLM's":            {"data: hello\n\n", Token},
		"last line has no end":  {"data: [DONE]", Empty},
		"endless without token": {strings.Repeat(": ping\n\n", maxHeld/8+1), Token},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.stream), iotest.OneByteReader(strings.NewReader(c.stream))} {
				held, v, err := OpenAI.Gate(r, make([]byte, 64))
				require.NoError(t, err)
				require.Equal(t, c.want, v)
				rest, err := io.ReadAll(r)
				require.NoError(t, err)
				require.Equal(t, c.stream, string(held)+string(rest), "nothing is lost")
			}
		})
	}
}

func TestGate_brokenStreamIsAnError(t *testing.T) {
	cut := errors.New("reset")
	_, _, err := OpenAI.Gate(io.MultiReader(strings.NewReader(role), iotest.ErrReader(cut)), nil)
	require.ErrorIs(t, err, cut)
	_, v, err := OpenAI.Gate(io.MultiReader(strings.NewReader(token), iotest.ErrReader(cut)), nil)
	require.NoError(t, err, "after the first token it is the relay's business")
	require.Equal(t, Token, v)
}

func FuzzGate_losesNothing(f *testing.F) {
	f.Add(role+token+done, 3)
	f.Fuzz(func(t *testing.T, stream string, chunk int) {
		r := io.Reader(strings.NewReader(stream))
		if chunk%2 == 0 {
			r = iotest.HalfReader(r)
		}
		held, _, err := OpenAI.Gate(r, nil)
		require.NoError(t, err)
		rest, _ := io.ReadAll(r)
		require.Equal(t, stream, string(held)+string(rest))
	})
}

func TestGate_judgesAnErrorByItsCode(t *testing.T) {
	for code, want := range map[string]Verdict{
		`"code":500`: Failed, `"code":null`: Failed, `"x":1`: Failed, `"code":0`: Failed,
		`"code":400`: Token, `"code":429`: Token, `"code":"invalid"`: Token, `"code":5.5`: Token,
	} {
		_, v, err := OpenAI.Gate(strings.NewReader(`data: {"error":{"message":"x",`+code+"}}\n\n"), make([]byte, 4096))
		require.NoError(t, err)
		require.Equal(t, want, v, code)
	}
}
