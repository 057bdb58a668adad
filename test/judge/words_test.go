package judge

import "strings"

// words are what JSON has, and what it only looks as if it had.
type words struct{ good, bad []string }

// The words of the grammar, and the documents that fuzzing starts from.
var (
	spaces = words{[]string{" ", "\n", "\r\n\t "}, []string{"\f", "\v", "\u00a0", "\u2028", "\x00", "/* */", "//\n", "#\n", "\ufeff"}}
	commas = words{[]string{",", " , "}, []string{",,", "", ";"}}

	oddities = []string{
		"\x00", "\xff", "\xed\xa0\x80", "\xc0\x80", "\xef\xbb\xbf", "\ufffd", "\U0001f600", "\u007f", `"`, `\`, "'", ",", "}", "]", "{", "[",
		":", "\n", "0", "-", ".", "e", "null", "NaN", " ", "x",
	}

	literals = words{[]string{"null", "true", "false"}, []string{
		"NaN", "Infinity", "-Infinity", "nan", "None", "True", "nul", "undefined", "'a'", "", "nulll",
	}}

	numbers = words{[]string{
		"0", "1", "-0", "-1", "1.0", "-0.0", "1e5", "1E+5", "1e-5", "1e999", "-1e999", "1e-999", "9007199254740993", "18446744073709551616",
		"0.1000000000000000055511151231257827", "0e0", "1.5", "2147483648", "-9223372036854775809", strings.Repeat("7", 4299), strings.Repeat("7", 4300),
		"-" + strings.Repeat("7", 4300), strings.Repeat("7", 4301) + ".0", strings.Repeat("7", 4301) + "e1", "0." + strings.Repeat("7", 5000),
	}, []string{
		"01", "-01", "1.", ".5", "1e", "1e+", "1.e1", "+1", "0x10", "1_000", "-", "--1", "1-1", "00", "\u0661", "\uff11",
		strings.Repeat("7", 4301), "-" + strings.Repeat("7", 4301),
	}}

	texts = words{[]string{
		"", "a", "kv_transfer_params", `\"`, `\\`, `\/`, `\b\f\n\r\t`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\ud800`, `\udc00`, `\udc00\ud800`, `\ud800x`,
		`\ufffd`, `\ufeff`, `\u0000`, "\x7f", "\u0080", "\u2028", "\ufffd", "\ufffe", "\U0001f600", "a much longer text of many words without any escape at all, of some strides",
		`","kv_transfer_params":{},"a":"`, `\","kv_transfer_params\":{}`, `\u0022,\u0022kv_transfer_params\u0022:1`,
		strings.Repeat("sixteen of them ", 4), strings.Repeat("7 of 63", 9), strings.Repeat(`\\`, 33), strings.Repeat(`an odd \"`, 13), strings.Repeat("\u00e9t\u00e9 ", 31),
	}, []string{
		`\u12`, `\u 123`, `\u+123`, `\u12_3`, `\U0041`, `\x41`, `\a`, `\`, "\x00", "\x1f", "\n", "\t", "\xff", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\xe2\x82",
	}}

	requestKeys = []string{
		"a", "kv_transfer_params", "kv_transfer_params", "kv_transfer_params", "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "vllm_xargs", "vllm_xargs",
		"model", "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "stream", "max_tokens", "max_completion_tokens", "stream_options",
		"min_tokens", "min_completion_tokens", "messages", "prompt", "n", "best_of", "use_beam_search", "echo", "prompt_logprobs", "prompt_embeds",
		"tool_choice", "truncate_prompt_tokens", "temperature", "seed", "", "a", "cache_salt", "kv_transfer_params\\u0000", "request_id",
		"store", "max_output_tokens", "background", "previous_response_id", "truncation", "tools", "input", "type",
	}

	requestValues = []string{
		"1", `"m"`, "null", "true", "false", "{}", "[]", `{"kv_transfer_params":{"do_remote_prefill":true}}`, `{"ec_transfer_params":1}`,
		`{"a":1,"kv_transfer_params":2,"b":3,"kv_transfer_params":4}`, `{"kv\u005ftransfer_params":1}`, `{"kv_transfer_params":1,"kv_transfer_params":2} `,
		`{"include_usage":true}`, `["a","b"]`, `[1,2]`, `[[1],[2]]`, `["a"]`, `"auto"`, `"none"`, `"required"`, `"\u0061uto"`, "2", "1.0", "-1", "1e0", `"1"`,
		`[{"role":"user","content":"hi"}]`, `{"x":{"kv_transfer_params":1}}`, `[{"kv_transfer_params":1}]`, `{"a":1 , "ec_transfer_params" : [ ] , "b" : 2}`,
		`"kv_transfer_params"`, `{"KV_TRANSFER_PARAMS":1}`, `{"kv_transfer_params\u0000":1}`, `"\ud800"`, `"\ufffd"`,
		`[{"type":"function"}]`, `[{"type":"mcp"}]`, `[{"type":"function","type":"mcp"}]`, `[{"type":"mcp","type":"custom"},1]`, `[{"t\u0079pe":"\u0066unction"}]`,
		`{"type":"auto"}`, `{"type":"any"}`, `{"type":"auto","type":"any"}`, `{"type":"auto\ud800"}`, `"disabled"`, `"resp_1"`,
	}

	answerKeys = []string{
		"kv_transfer_params", "kv_transfer_params", "kv_transfer_params", "id", "choices", "object", "created", "model", "usage", "metrics", "error", "a",
	}

	answerValues = handovers()

	requests = []string{
		`{}`, `[]`, `null`, ``, ` `, `{"a":1,}`, `{"a":1}x`,
		`{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"max_tokens":50,"min_tokens":3,"seed":12345678901234567890}`,
		`{"model":"m","prompt":[1,2,3],"max_tokens":1.50,"temperature":-0}`,
		`{"kv_transfer_params":{"a":1},"kv_tr\u0061nsfer_params":2,"prompt":"x","ec_transfer_params":null}`,
		`{"vllm_xargs":{"kv_transfer_params":"x","a":1},"vllm_xargs":{"b":2}}`,
		`{"vllm_xargs":[1],"vllm_xargs":{"kv_transfer_params":"x","a":1}}`,
		`{"vllm_xargs":{"kv_transfer_params":"x"},"vllm_xargs":null}`,
		"\xef\xbb\xbf{}", "{\"a\":\"\xed\xa0\x80\"}", `{"a":NaN}`, `{"a":-Infinity}`, "{\x00}\x00", "{\"a\":\"\x00\"}", `{"model":1}`, `{"model":"\ud800"}`,
		`{"a":` + strings.Repeat("7", 4301) + `}`, `{"kv_transfer_params":` + strings.Repeat("7", 4301) + `}`, `{"stream_options":` + strings.Repeat("7", 4301) + `}`,
		`{"a":` + strings.Repeat("[", 499) + strings.Repeat("]", 499) + `}`, `{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		strings.Repeat("[", 2000), `{"max_tokens":1,"a":1,"max_tokens":2,"max_tokens":3}`,
		`{"n":1,"best_of":1,"echo":false,"tool_choice":"auto","truncate_prompt_tokens":1.5,"prompt":[1.0,"a"]}`,
	}

	answers = append(answersWith(handovers()), `{"id":"x","choices":[],"kv_transfer_params": `+given+` ,"metrics":null}`,
		`{"kv_transfer_params":null,"kv_transfer_params":`+given+`}`, `{"kv_transfer_params":`+given+`,"kv_transfer_params":null}`,
		addressed("0.0.0.0"), addressed("::"), addressed("::ffff:0.0.0.0"), addressed("ff02::1%eth0"), addressed("::ffff:224.0.0.1"), addressed("::1"), addressed("localhost"))

	// choices start the grammar off with documents of a few members.
	choices = []string{"", "\x00\x03\x00\x00\x01", strings.Repeat("\x05\x01\x00", 40), strings.Repeat("\x02\x07\x0b\xf1\x03", 60), strings.Repeat("abcdefghijklmnop", 30)}
)

// answersWith are answers with each of the params.
func answersWith(params []string) []string {
	var out []string
	for _, p := range params {
		out = append(out, `{"id":"x","kv_transfer_params":`+p+`}`)
	}
	return out
}

// addressed is an answer whose handoff names that host.
func addressed(host string) string {
	return `{"kv_transfer_params":` + strings.Replace(given, "127.0.0.1", host, 1) + `}`
}

// handovers are params: one good, and one for each part and each thing that
// can be in its place.
func handovers() []string {
	out := []string{given, "null", "{}", "[]", `"x"`}
	for _, part := range []string{"true", "false", "[[17,18]]", `"06629847"`, `"chatcmpl-1"`, `"127.0.0.1"`, "15600", ":1,"} {
		for _, other := range []string{
			"null", "0", "-0", "1", "1.0", "1e3", "65535", "65536", "true", "false", `""`, `"\ud800"`, `"\ufffd"`, `"a\u002eb"`, `"é"`, "[]", "[[]]", "[1,2]",
			"[ [ 1 ] , [ 2 , 3 ] ]", "[[1],2]", "[1,[2]]", "[[[1]]]", "[-1]", "[1.5]", "[[true]]", `["1"]`, "{}", "9223372036854775808", "[18446744073709551616]",
		} {
			if strings.HasPrefix(part, ":") {
				other = ":" + other + ","
			}
			out = append(out, strings.Replace(given, part, other, 1))
		}
		out = append(out, strings.Replace(given, part, part+`,"remote_port":2`, 1))
	}
	return out
}
