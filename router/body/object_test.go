package body

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestApply_editsInPlace(t *testing.T) {
	cases := []struct {
		name, in string
		edits    []Edit
		want     string
	}{
		{"nothing", ` { "a" : 1 , "b":2 } `, nil, ` { "a" : 1 , "b":2 } `},
		{"set keeps place", `{"a":1, "b" : 2,"c":3}`, []Edit{Set("b", "[9]")}, `{"a":1, "b" : [9],"c":3}`},
		{"append", `{"a":1 }`, []Edit{Set("b", "2"), Set("c", "3")}, `{"a":1,"b":2,"c":3 }`},
		{"append to empty", ` { } `, []Edit{Set("b", "2"), Delete("x")}, ` {"b":2 } `},
		{"delete first", `{ "a":1, "b":2}`, []Edit{Delete("a")}, `{ "b":2}`},
		{"delete middle", `{"a":1, "b":2,"c":3}`, []Edit{Delete("b")}, `{"a":1,"c":3}`},
		{"delete last", `{"a":1, "b":2 }`, []Edit{Delete("b")}, `{"a":1 }`},
		{"delete all", `{"a":1, "b":2}`, []Edit{Delete("a"), Delete("b")}, `{}`},
		{"delete only, then append", `{"a":1}`, []Edit{Delete("a"), Set("b", "2")}, `{"b":2}`},
		{"delete every duplicate", `{"a":1,"b":2,"\u0061":3}`, []Edit{Delete("a")}, `{"b":2}`},
		{"set leaves one", `{"a":1,"b":2,"\u0061":3}`, []Edit{Set("a", "9")}, `{"b":2,"\u0061":9}`},
		{"nested names are not ours", `{"x":{"a":1},"y":[{"a":2}]}`, []Edit{Delete("a")}, `{"x":{"a":1},"y":[{"a":2}]}`},
		{"escaped quote in a key", `{"\"a":1,"a\\":2,"a":3}`, []Edit{Delete("a")}, `{"\"a":1,"a\\":2}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := []byte(c.in)
			o, err := Parse(in)
			require.NoError(t, err)
			got := o.Apply(c.edits...)
			require.Equal(t, c.want, string(got))
			require.True(t, json.Valid(got))
			require.Equal(t, c.in, string(in), "the input is left alone")
		})
	}
}

func TestGet_lastOfSeveralCounts(t *testing.T) {
	o, err := Parse([]byte(`{"a":1,"b":"x","\u0061": 2.50 ,"c":null}`))
	require.NoError(t, err)
	require.Equal(t, "2.50", string(o.Get("a")))
	require.Equal(t, "null", string(o.Get("c")))
	require.Nil(t, o.Get("nope"))
	require.False(t, o.Has("nope"))
}

func TestParse_refusesWithTheOffset(t *testing.T) {
	for in, reason := range map[string]string{
		"": "empty", "  ": "empty", "[]": "want an object", `"x"`: "want an object", "{": "member name", `{"a"}`: "':'",
		`{"a":}`: "want a value", `{"a":1,}`: "member name", `{"a":1 "b":2}`: "','", `{"a":[1,]}`: "want a value", `{"a":[1 2]}`: "']'",
		`{"a":1}x`: "follows", `{"a":NaN}`: "want a value", `{"a":Infinity}`: "want a value", `{"a":-Infinity}`: "want a digit",
		`{"a":+1}`: "want a value", `{"a":01}`: "'}'", `{"a":1.}`: "after the point", `{"a":1e}`: "exponent", `{"a":-}`: "want a digit",
		`{"a":tru}`: "want a value", `{"a":"\x"}`: "unknown escape", `{"a":"\u12g4"}`: "four hexadecimal", `{"a":"`: "without an end",
		"{\"a\":\"\t\"}": "control character", "\xef\xbb\xbf{}": "byte order mark", "{\"a\":\"\xff\"}": "not UTF-8", "{\"\x00\":1}": "control character",
		"{\x00}": "member name", `{"a":` + strings.Repeat("[", 600): "nested deeper",
	} {
		_, err := Parse([]byte(in))
		var s *SyntaxError
		require.ErrorAs(t, err, &s, in)
		require.Contains(t, err.Error(), reason, in)
	}
}

func TestParse_errorNeverQuotesTheDocument(t *testing.T) {
	_, err := Parse([]byte(`{"secret":"prompt" oops}`))
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "oops")
}

func TestElements_splitsAnArray(t *testing.T) {
	e, ok := Elements([]byte(`[ 1, "a,b" ,[2,3], {"x":[4]} ]`), 9)
	require.True(t, ok)
	var got []string
	for _, raw := range e {
		got = append(got, string(raw))
	}
	require.Equal(t, []string{"1", `"a,b"`, "[2,3]", `{"x":[4]}`}, got)
	_, ok = Elements([]byte(`"text"`), 9)
	require.False(t, ok)
	_, ok = Elements(nil, 9)
	require.False(t, ok)
}

func TestElements_keepsNoMoreThanAsked(t *testing.T) {
	e, ok := Elements([]byte("[1"+strings.Repeat(",1", 10_000)+"]"), 2)
	require.True(t, ok)
	require.Len(t, e, 2)
}

func TestParse_refusesAnAbsurdNumberOfMembers(t *testing.T) {
	_, err := Parse([]byte(`{"a":0` + strings.Repeat(`,"a":0`, maxMembers-1) + `}`))
	require.NoError(t, err)
	_, err = Parse([]byte(`{"a":0` + strings.Repeat(`,"a":0`, maxMembers) + `}`))
	require.ErrorContains(t, err, "more than 1024 members")
}

// depth is how deep a document nests, as the parser counts.
func depth(b []byte) int {
	deepest, now, text := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// FuzzApply holds the editor against encoding/json: the same documents are
// accepted, and an edit means what it would mean on a decoded map.
func FuzzApply(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"kv":{"x":[1,2]},"b":"\u00e9"}`, ` { "kv" : null , "\u006bv":2 } `, `{"a":{"kv":1}}`, `[]`, `{"a":1e400,"b":-0.0}`, `{"a":"\ud800"}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		o, err := Parse(in)
		var asMap map[string]json.RawMessage
		valid := json.Valid(in) && utf8.Valid(in) && json.Unmarshal(in, &asMap) == nil && asMap != nil
		if (err == nil) != valid && depth(in) < maxDepth {
			t.Fatalf("Parse says %v, encoding/json says valid %v: %q", err, valid, in)
		}
		if err != nil {
			return
		}
		out := o.Apply(Set("kv", `{"new":1}`), Delete("gone"), Set("added", "true"))
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		delete(asMap, "gone")
		asMap["kv"], asMap["added"] = json.RawMessage(`{"new":1}`), json.RawMessage("true")
		if len(got) != len(asMap) {
			t.Fatalf("%q became %q", in, out)
		}
		for k, v := range asMap {
			if !bytes.Equal(got[k], v) {
				t.Fatalf("%q became %q: member %q", in, out, k)
			}
		}
		again, err := Parse(out)
		if err != nil || !bytes.Equal(again.Apply(Set("kv", `{"new":1}`), Set("added", "true")), out) {
			t.Fatalf("%q: a second edit differs", in)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"prose": "lorem ipsum dolor sit amet, ",
		"lines": `lorem ipsum dolor sit amet\n`,
		"code":  `\t\tif err != nil {\n\t\t\treturn fmt.Errorf(\"x: %w\", err)\n\t\t}\n`,
		"ascii": `\u0394\u03b9\u03ba\u03b1\u03b9\u03bf\u03c3\u03cd\u03bd\u03b7 `,
		"utf-8": "Δικαιοσύνη, ",
	} {
		b.Run(name, func(b *testing.B) {
			turn := `{"role":"user","content":"` + strings.Repeat(text, 2048/len(text)) + `"},`
			doc := []byte(`{"model":"m","messages":[` + strings.TrimSuffix(strings.Repeat(turn, 100), ",") + `],"max_tokens":10}`)
			var o Object
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if err := o.Reset(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Long strings of everything that matters in one, in any order.
func TestValid_isAsOthersSay(t *testing.T) {
	parts := []string{"x", "xxxxxxxxxxxxxxxx", `"`, `\\`, `\`, `\"`, `\n`, `\u00e9`, `\u00`, "é", "\xc3", "\x1f", "\n", "€", `\ud83d\ude00`}
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 50_000 {
		rare := random.IntN(40) // how often what is mostly wrong comes
		doc := []byte{'"'}
		for range random.IntN(100) {
			part := parts[random.IntN(len(parts))]
			if wrong := !json.Valid([]byte(`"`+part+`"`)) || !utf8.ValidString(part); wrong && random.IntN(rare+1) > 0 {
				part = `\\`
			}
			doc = append(doc, part...)
		}
		doc = append(doc, '"')
		want := json.Valid(doc) && utf8.Valid(doc)
		if want {
			accepted++
		}
		require.Equal(t, want, Valid(doc), "%q", doc)
	}
	require.Greater(t, accepted, 5000, "that is no test")
	require.Less(t, accepted, 45000, "that is no test")
}

// Python's int() refuses more digits, after a leg could have been served.
func TestParse_refusesWholeNumbersThatPythonRefuses(t *testing.T) {
	digits := strings.Repeat("7", maxDigits)
	for _, ok := range []string{digits, "-" + digits, "7" + digits + ".0", "7" + digits + "e1", "7" + digits + "E1", "0." + digits + "7"} {
		_, err := Parse([]byte(`{"a":` + ok + `}`))
		require.NoError(t, err)
	}
	for _, bad := range []string{"7" + digits, "-7" + digits} {
		_, err := Parse([]byte(`{"a":[` + bad + `]}`))
		require.ErrorContains(t, err, "more than 4300 digits")
	}
}

// Python and Go read half of a surrogate pair as different texts.
func TestText_refusesHalfPairs(t *testing.T) {
	for _, ok := range []string{`""`, `"é"`, `"\u0041\n"`, `"\ud83d\ude00"`, `"\\ud800"`, `"\ufffd"`, `"\uD83D\uDE00\uD83D\uDE00"`} {
		_, isText := Text([]byte(ok))
		require.True(t, isText, ok)
	}
	for _, bad := range []string{`1`, `null`, `"\ud800"`, `"\udc00"`, `"a\ud800x"`, `"\udc00\ud800"`, `"\ud800\ud800\udc00"`, `"\ud800\\udc00"`, `"\ud83d\ude00\ude00"`} {
		_, isText := Text([]byte(bad))
		require.False(t, isText, bad)
	}
}

func TestValid_isAnyValue(t *testing.T) {
	for _, ok := range []string{"[12345678,\n12345678,\t  1 ,\r\n1234567, 2]", `{"a":[1,"x"]}`, ` [] `, `1`, `"é"`, `null`, `[12345678901234567890,0,-1]`} {
		require.True(t, Valid([]byte(ok)), ok)
	}
	for _, bad := range []string{``, ` `, `{`, `{"a":1}x`, `nul`, `01`, `[01]`, `[1 2]`, `[1,]`, `[123456789`, "\"\xff\"", "<html>"} {
		require.False(t, Valid([]byte(bad)), bad)
	}
}

// Every place in a stride at which a string's text can end, be escaped or be
// wrong must be seen.
func TestParse_seesWhatStandsAnywhereInAString(t *testing.T) {
	for before := range near + 2*blockSize + 10 {
		for _, after := range []int{0, 1, 2, 7, 8, 9, blockSize - 1, blockSize, 2*blockSize + 5} {
			text := func(what string) []byte {
				return []byte(`{"k":"` + strings.Repeat("x", before) + what + strings.Repeat("y", after) + `","n":1}`)
			}
			for _, ok := range []string{`\"`, `\\`, `\n`, `\u00e9`, "é", "\x7f", `\"\"`, `\\\"`} {
				o, err := Parse(text(ok))
				require.NoError(t, err, "%d %q %d", before, ok, after)
				require.Equal(t, "1", string(o.Get("n")))
			}
			for _, bad := range []string{"\x00", "\x1f", "\n", "\xff", "\xc3", `\x`, `\u12g4`, `"`, `\`} {
				_, err := Parse(text(bad))
				require.Error(t, err, "%d %q %d", before, bad, after)
			}
		}
	}
}

// Lists of numbers, as they are and a little wrong.
func TestValid_readsListsAsOthersDo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	numbers := []string{"0", "7", "12345678", "123456789012345678", "1234567890123456789", "-1", "1.5", "1e5", "null", `"1"`, "[1,2]", "[]", "01", "-", "1.", ""}
	spaces := []string{"", "", "", " ", "  ", "\n", "\t", "\r\n", "x"}
	accepted := 0
	for range 50_000 {
		good := random.IntN(2) * 4 // half of the documents have nothing wrong on purpose
		doc := []byte("[")
		for n := range random.IntN(12) {
			if n > 0 {
				doc = append(doc, ',')
			}
			for _, from := range [][]string{spaces[:len(spaces)-min(1, good)], numbers[:len(numbers)-good], spaces[:len(spaces)-min(1, good)]} {
				doc = append(doc, from[random.IntN(len(from))]...)
			}
		}
		doc = append(doc, ']')
		want := json.Valid(doc)
		if want {
			accepted++
		}
		require.Equal(t, want, Valid(doc), "%q", doc)
	}
	require.Greater(t, accepted, 20_000)
	require.Less(t, accepted, 40_000)
}

func TestNumbers_areThoseWithACommaBehind(t *testing.T) {
	for list, want := range map[string]int{
		"": 0, "1": 0, "12345678": 0, "1,2,3,4,5,6,7,8]": 8, "1, 2, 3, 4, 5]": 6, "123456789012345678,12345678901234567,]": 37,
		"1234567890123456789,1": 0, "01,2,3,4,5]": 0, "0,0,0,0,0,0]": 4, "-1,2,3,4,5]": 0, "1.5,2,3,4,5": 0, "1 ,2,3,4,5": 0, "1,  2,3,4,5": 3,
		"12345678,12345678,1]": 18, "\x801234567,": 0, "\xb01,22222222": 0, "1/2:3,4,5,6": 0, "1\xff2,3,4,5,6": 0,
	} {
		require.Equal(t, want, Numbers([]byte(list)), list)
	}
}

func BenchmarkParse_handoff(b *testing.B) {
	doc := []byte(`{"kv_transfer_params":{"remote_block_ids":[[` + strings.Repeat("9,10,123,4567,89012,", 700) + `1]]}}`)
	var o Object
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if err := o.Reset(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func TestResetWith_readsTheMemberThatCounts(t *testing.T) {
	for doc, want := range map[string]string{
		`{"kv":{"a":1}}`: "1",
		` { "b" : {"a":9} , "kv" : { "a" : 1 } }`:        "1",
		`{"kv":{"a":9},"kv":{"a":1}}`:                    "1",
		`{"kv":{"a":9},"k\u0076":{"a":1}}`:               "1",
		`{"k\u0076":{"a":9},"kv":{"a":1}}`:               "1",
		`{"kv":{"a":9,"kv":{"a":8}},"kv":{"a":1}}`:       "1",
		`{"kv":{"kv":{"a":8},"a":1}}`:                    "1",
		`{"b":{"kv":{"a":9}},"kv":{"a":1}}`:              "1",
		`{"kv":{"a":9,"a":1},"b":[{"kv":{"a":8}},null]}`: "1",
		`{"kv":{}}`: "",
	} {
		var o, inner Object
		for range 2 { // the second time in used memory
			require.NoError(t, o.ResetWith([]byte(doc), "kv", &inner))
			require.Equal(t, want, string(inner.Get("a")), doc)
		}
	}
	var o, inner Object
	require.NoError(t, o.ResetWith([]byte(`{     "kv":{"a":9}}`), "kv", &inner))
	require.NoError(t, o.ResetWith([]byte(`{"k\u0076":{"a":1}}`), "kv", &inner))
	require.Equal(t, "1", string(inner.Get("a")), "the last document's member began at the same byte")
	require.Error(t, o.ResetWith([]byte(`{"kv":{"a":1}`), "kv", &inner))
	require.ErrorContains(t, o.ResetWith([]byte(`{"kv":{`+strings.Repeat(`"a":1,`, maxMembers+1)+`"a":1}}`), "kv", &inner), "more than")
}
