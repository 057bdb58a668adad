package handoff

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
)

func parse(t *testing.T, s string) *body.Object {
	o, err := body.Parse([]byte(s))
	require.NoError(t, err)
	return o
}

func TestPrefillBody_asksForOneTokenAndAHandoff(t *testing.T) {
	const in = `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":50,"min_tokens":3,"min_completion_tokens":2,"messages":[1],"seed":12345678901234567890}`
	require.Equal(t, `{"model":"m","stream":false,"max_tokens":1,"messages":[1],"seed":12345678901234567890,"kv_transfer_params":`+askForHandoff+`,"max_completion_tokens":1}`,
		prefillBody(t, Chat, in))
	require.Equal(t, `{"prompt":"x","stream":false,"max_tokens":1,"kv_transfer_params":`+askForHandoff+`}`,
		prefillBody(t, Completions, `{"prompt":"x"}`), "max_completion_tokens is no field of completions")
}

func prefillBody(t *testing.T, ep Endpoint, in string) string {
	var p body.Pieces
	NewNIXL().PrefillBody(&p, ep, parse(t, in), "r-1")
	return string(p.Bytes())
}

func TestDecodeBody_isTheClientsPlusParams(t *testing.T) {
	params := `{ "remote_port": 5600, "remote_block_ids":[[17]], "new_field":9007199254740993 }`
	var p body.Pieces
	NewNIXL().DecodeBody(&p, parse(t, `{"prompt":"x" }`), json.RawMessage(params))
	require.Equal(t, `{"prompt":"x","kv_transfer_params":`+params+` }`, string(p.Bytes()))
}

func TestParams_takesRealAnswersVerbatim(t *testing.T) {
	const params = `{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[17,18]],"remote_engine_id":"06629847","remote_request_id":"chatcmpl-1","remote_host":"127.0.0.1","remote_port":15600,"tp_size":1,"remote_blocks_expiry_time":null,"transfer_mode":"pull"}`
	for _, blocks := range []string{`[[17,18]]`, `[17,18]`} { // one list per KV group; one flat list up to early 2026
		p := replace(params, `[[17,18]]`, blocks)
		got, err := read(`{"id":"x","choices":[],"kv_transfer_params": ` + p + ` ,"metrics":null}`)
		require.NoError(t, err)
		require.Equal(t, p, string(got.Params))
		require.Equal(t, Given{Params: got.Params, EngineID: "06629847", Host: "127.0.0.1", Port: 15600, RequestID: "chatcmpl-1"}, got)
	}
}

func TestParams_refusesWhatKillsADecode(t *testing.T) {
	const good = `{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}`
	_, err := read(`{"kv_transfer_params":` + good + `}`)
	require.NoError(t, err)
	for _, bad := range []string{
		`null`, `{}`, `[]`, `"x"`, `true`,
		replace(good, `"do_remote_prefill":true`, `"do_remote_prefill":false`), replace(good, `"do_remote_decode":false`, `"do_remote_decode":true`),
		replace(good, `"e"`, `""`), replace(good, `"e"`, `null`), replace(good, `"h"`, `null`), replace(good, `"r"`, `null`), replace(good, `"e"`, `"\ud800"`), replace(good, `:1}`, `:0}`), replace(good, `:1}`, `:70000}`),
		replace(good, `:1}`, `:"1"}`), replace(good, `[[1]]`, `null`), replace(good, `[[1]]`, `"x"`),
		replace(good, `[[1]]`, `[[1],2]`), replace(good, `[[1]]`, `[1,[2]]`), replace(good, `[[1]]`, `[[[1]]]`), replace(good, `[[1]]`, `[["1"]]`), replace(good, `[[1]]`, `[[-1]]`),
		replace(good, `[[1]]`, `[[1.5]]`), replace(good, `[[1]]`, `[[null]]`), replace(good, `[[1]]`, `{"a":1}`), replace(good, `[[1]]`, `[[1]],"tp_size":"1"`), replace(good, `[[1]]`, `[[1]],"tp_size":0`),
	} {
		_, err := read(`{"kv_transfer_params":` + bad + `}`)
		require.True(t, ErrNoParams(err), bad)
	}
	_, err = read(`<html>`)
	require.Error(t, err)
	require.False(t, ErrNoParams(err), "an answer that is no JSON is a broken prefill")
}

func read(answer string) (Given, error) {
	var r Reader
	return r.Read([]byte(answer))
}

func TestClean_removesWhatSteersTransfers(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1}`:                                                      `{"a":1}`,
		`{"kv_transfer_params":{},"a":1}`:                              `{"a":1}`,
		`{"a":1,"ec_transfer_params":null}`:                            `{"a":1}`,
		`{"kv\u005ftransfer_params":1,"a":1}`:                          `{"a":1}`,
		`{"vllm_xargs":{"kv_transfer_params":"x"},"a":1}`:              `{"vllm_xargs":{},"a":1}`,
		`{"vllm_xargs":{"x":{"kv_transfer_params":1}},"a":1}`:          `{"vllm_xargs":{"x":{"kv_transfer_params":1}},"a":1}`,
		`{"messages":[{"content":"kv_transfer_params"}]}`:              `{"messages":[{"content":"kv_transfer_params"}]}`,
		`{"vllm_xargs":{"kv_transfer_params":1},"vllm_xargs":{"b":2}}`: `{"vllm_xargs":{"b":2}}`,
		`{"vllm_xargs":{"kv_transfer_params":1},"vllm_xargs":null}`:    `{"vllm_xargs":null}`,
		`{"vllm_xargs":null,"kv_transfer_params":1}`:                   `{"vllm_xargs":null}`,
		`{"vllm_xargs":{"a":1,"ec_transfer_p\u0061rams":2,"b":3} }`:    `{"vllm_xargs":{"a":1,"b":3} }`,
	} {
		o, err := Clean(parse(t, in))
		require.NoError(t, err)
		require.Equal(t, want, string(o.Raw()), in)
	}
}

func TestUnsupported_plainRequestsAreCarried(t *testing.T) {
	for _, in := range []string{
		`{}`, `{"n":1}`, `{"n":null}`, `{"best_of":1,"use_beam_search":false,"echo":false,"prompt_logprobs":null}`, `{"prompt":"a"}`, `{"prompt":["a"]}`, `{"prompt":[1,2,3]}`,
		`{"prompt":[[1,2,3]]}`, `{"prompt":[]}`, `{"prompt":[-1,5]}`, `{"logprobs":5}`, `{"truncate_prompt_tokens":100}`, `{"tools":[],"response_format":{"type":"json_object"}}`,
	} {
		require.Equal(t, pd.ReasonNone, Unsupported(Completions, parse(t, in)), in)
	}
	require.Equal(t, pd.ReasonNone, Unsupported(Chat, parse(t, `{"prompt":["a","b"],"tool_choice":"auto"}`)), "chat has no prompt")
	require.Equal(t, pd.ReasonUnsupportedRequest, Unsupported(Chat, parse(t, `{"tool_choice":"required"}`)))
	require.Equal(t, pd.ReasonUnsupportedRequest, Unsupported(Chat, parse(t, `{"tool_choice":{"type":"function","function":{"name":"f"}}}`)))
}

// replace swaps one part and panics if there is none, so that no case tests nothing.
func replace(s, old, with string) string {
	if !strings.Contains(s, old) {
		panic("no " + old)
	}
	return strings.Replace(s, old, with, 1)
}

func TestPrefillBody_ofTheNewerEndpoints(t *testing.T) {
	require.Equal(t, `{"input":"x","stream":false,"store":false,"max_output_tokens":1,"kv_transfer_params":`+askForHandoff+`,"request_id":"resp_r-1"}`,
		prefillBody(t, Responses, `{"input":"x","stream":true,"store":true}`), "the handoff's request id is to be ours")
	require.Equal(t, `{"input":"x","request_id":"mine","stream":false,"max_output_tokens":1,"store":false,"kv_transfer_params":`+askForHandoff+`}`,
		prefillBody(t, Responses, `{"input":"x","request_id":"mine"}`))
	require.Equal(t, `{"messages":[1],"max_tokens":1,"thinking":{"type":"enabled","budget_tokens":2000},"stream":false,"kv_transfer_params":`+askForHandoff+`}`,
		prefillBody(t, Messages, `{"messages":[1],"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000}}`))
}

func TestUnsupported_ofTheNewerEndpoints(t *testing.T) {
	for _, c := range []struct {
		ep   Endpoint
		in   string
		want pd.Reason
	}{
		{Responses, `{"input":"x","store":true,"background":false,"truncation":"disabled","previous_response_id":null,"tool_choice":"auto"}`, pd.ReasonNone},
		{Responses, `{"tools":[]}`, pd.ReasonNone},
		{Responses, `{"tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"},{"type":"namespace","name":"n","tools":[]}]}`, pd.ReasonNone},
		{Responses, `{"n":2,"echo":true}`, pd.ReasonNone}, // no fields of this endpoint
		{Responses, `{"background":true}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"background":1}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"previous_response_id":"resp_1"}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"truncation":"auto"}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tool_choice":"required"}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tool_choice":{"type":"function","name":"f"}}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tools":[{"type":"function"},{"type":"code_interpreter"}]}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tools":[{"type":"mcp"}]}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tools":[{"name":"f"}]}`, pd.ReasonUnsupportedRequest},
		{Responses, `{"tools":{}}`, pd.ReasonUnsupportedRequest},
		{Messages, `{"tools":[{"name":"f"}],"thinking":{"type":"enabled","budget_tokens":2000}}`, pd.ReasonNone},
		{Messages, `{"tool_choice":{"type":"auto"}}`, pd.ReasonNone},
		{Messages, `{"tool_choice":{"type":"none"}}`, pd.ReasonNone},
		{Messages, `{"tool_choice":{"type":"any"}}`, pd.ReasonUnsupportedRequest},
		{Messages, `{"tool_choice":{"type":"tool","name":"f"}}`, pd.ReasonUnsupportedRequest},
		{Messages, `{"tool_choice":"auto"}`, pd.ReasonUnsupportedRequest}, // vLLM's to refuse
	} {
		require.Equal(t, c.want, Unsupported(c.ep, parse(t, c.in)), "%s %s", c.ep, c.in)
	}
}
