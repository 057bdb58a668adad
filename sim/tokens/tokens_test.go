package tokens_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

func TestEncode_roundTrips(t *testing.T) {
	for _, text := range []string{
		"", " ", "hello world", "  two  spaces\n\nand lines\t", "naïve café – “quotes” 東京 🎉🎉", "a\x00b\x01\x7f", "case 3 a6cd221d9a7d4a57850372c385879df1",
		strings.Repeat("x", 1000),
	} {
		ids := tokens.Encode(text)
		require.Equal(t, text, tokens.DecodeAll(ids))
		for _, id := range ids {
			require.True(t, tokens.Valid(id), "%q has token %d", text, id)
		}
	}
}

func FuzzEncode_roundTrips(f *testing.F) {
	f.Add("some text, 12 words \u00e9")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // the server refuses it
		}
		require.Equal(t, text, tokens.DecodeAll(tokens.Encode(text)))
	})
}

func TestEncode_countsLikeRealTokenizers(t *testing.T) {
	text := strings.Repeat("Explain the benefits of prefill and decode disaggregation to a person who runs a cluster. ", 20)
	perToken := float64(len(text)) / float64(len(tokens.Encode(text)))
	require.Greater(t, perToken, 3.0)
	require.Less(t, perToken, 5.0)
	require.Equal(t, len(tokens.Encode("id 0123456789abcdef")), len(tokens.Encode("id fedcba9876543210")), "length does not depend on the digits")
}

func TestValid_knowsTheVocabulary(t *testing.T) {
	require.True(t, tokens.Valid(0))
	require.True(t, tokens.Valid(128255))
	require.False(t, tokens.Valid(-1))
	require.False(t, tokens.Valid(99999999))
}

func TestChat_endsAlike(t *testing.T) {
	a := tokens.Chat([]tokens.Message{{Role: "user", Content: "one"}}, true)
	b := tokens.Chat([]tokens.Message{{Role: "system", Content: "x"}, {Role: "user", Content: "two"}}, true)
	require.Equal(t, a[len(a)-1], b[len(b)-1])
	require.Equal(t, "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n", tokens.DecodeAll(a))
}

func TestWords_areOneTokenEach(t *testing.T) {
	for i := range tokens.Words() {
		text := tokens.Decode(tokens.Word(i))
		require.Equal(t, []int{tokens.Word(i)}, tokens.Encode(text), text)
	}
}
