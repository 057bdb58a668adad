package sim_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

// TestErrors_asRecorded lists what real vLLM 0.32.0 made of bad requests.
func TestErrors_asRecorded(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Args: []string{"--max-model-len=2048"}})
	const bad, invalid = "BadRequestError", "Bad Request"
	for _, c := range []struct {
		field string
		value any
		kind  string
		param any
	}{
		{"max_tokens", 0, bad, "max_tokens"},
		{"max_tokens", "many", invalid, "body.max_tokens"},
		{"max_tokens", 1.5, invalid, "body.max_tokens"},
		{"max_tokens", 100000, bad, "max_tokens"},
		{"temperature", -1, bad, "temperature"},
		{"temperature", "warm", invalid, "body.temperature"},
		{"top_p", 0, bad, "top_p"},
		{"top_k", -2, bad, nil},
		{"min_p", 2, bad, nil},
		{"n", 2, bad, nil},
		{"n", 1000000, bad, nil},
		{"n", "two", invalid, "body.n"},
		{"stop", 5, invalid, "body.stop"},
		{"stop", "", bad, nil},
		{"top_logprobs", 2, bad, "top_logprobs"},
		{"stream", "perhaps", invalid, "body.stream"},
		{"messages", []object{}, bad, nil},
		{"messages", nil, bad, nil},
		{"messages", "x", invalid, "body.messages"},
		{"tools", []object{}, bad, "tools"},
		{"tool_choice", "required", bad, "tool_choice"},
		{"response_format", object{"type": "poem"}, invalid, "body.response_format.type"},
		{"response_format", object{"type": "json_schema"}, bad, "response_format"},
		{"logit_bias", object{"x": 1}, bad, "logit_bias"},
		{"logit_bias", object{"99999999": 1}, bad, "logit_bias"},
		{"allowed_token_ids", []int{}, bad, "allowed_token_ids"},
		{"cache_salt", "", bad, "cache_salt"},
		{"kv_transfer_params", "x", invalid, "body.kv_transfer_params"},
		{"model", "gpt-4", "NotFoundError", "model"},
		{"model", 5, invalid, "body.model"},
		{"truncate_prompt_tokens", -5, invalid, "body.truncate_prompt_tokens"},
		{"prompt_logprobs", 100, bad, "prompt_logprobs"},
	} {
		raw, err := json.Marshal(c.value)
		require.NoError(t, err)
		t.Run(c.field+"="+string(raw), func(t *testing.T) {
			a := post(t, in, chatPath, chat("x", c.field, c.value))
			e := a.json(t)["error"].(object)
			require.Equal(t, c.kind, e["type"], "%s", a.body)
			require.Equal(t, c.param, e["param"], "%s", a.body)
			require.InDelta(t, a.status, e["code"], 0)
		})
	}
}

func TestErrors_ofTheBodyItself(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{})
	for text, says := range map[string]string{
		`{"model": "x", `:       `"param":"body.15"`,
		`hello`:                 `"param":"body.0"`,
		`[1]`:                   `"param":"body"`,
		``:                      `'missing'`,
		"{\"model\": \"\xff\"}": `"detail":"There was an error parsing the body"`,
		`{"temperature": NaN, "messages": [{"role": "user", "content": "NaN"}]}`: `temperature must be a finite number, got nan`,
		`{} {}`: `json_invalid`,
	} {
		resp, err := http.Post(in.URL()+chatPath, "application/json", strings.NewReader(text))
		require.NoError(t, err)
		body := make([]byte, 4096)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, text)
		require.Contains(t, string(body[:n]), says, text)
	}
}

func eventNames(a answer) []string {
	var out []string
	for _, line := range strings.Split(string(a.body), "\n") {
		if name, ok := strings.CutPrefix(line, "event: "); ok && (len(out) == 0 || out[len(out)-1] != name) {
			out = append(out, name)
		}
	}
	return out
}

func TestResponsesAndMessages_carryAHandoff(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	input := strings.Repeat("carry this over ", 20)
	respond := object{"model": "tiny", "input": input, "max_output_tokens": 6}
	message := object{"model": "tiny", "max_tokens": 6, "messages": []object{{"role": "user", "content": input}}}
	text := func(a answer) string {
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		v := a.json(t)
		list, ok := v["content"].([]any)
		if !ok {
			list = v["output"].([]any)[0].(object)["content"].([]any)
		}
		return list[0].(object)["text"].(string)
	}
	for path, req := range map[string]object{"/v1/responses": respond, "/v1/messages": message} {
		limit := "max_tokens"
		if req["input"] != nil {
			limit = "max_output_tokens"
		}
		params := post(t, prefill, path, with(req, limit, 1, "kv_transfer_params", ask)).params(t)
		got := text(post(t, decode, path, with(req, "kv_transfer_params", params)))
		require.Equal(t, text(post(t, start(t, sim.Options{}), path, req)), got)
	}
	require.Equal(t, []string{"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
		"response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"},
		eventNames(post(t, decode, "/v1/responses", with(respond, "stream", true))))
	require.Equal(t, []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"},
		eventNames(post(t, decode, "/v1/messages", with(message, "stream", true))))
}

func TestTokenize_agreesWithUsage(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{})
	req := chat("x")
	counted := post(t, in, "/tokenize", object{"model": "tiny", "messages": req["messages"]}).json(t)
	used := post(t, in, chatPath, req).json(t)["usage"].(object)
	require.Equal(t, counted["count"], used["prompt_tokens"])
	back := post(t, in, "/detokenize", object{"model": "tiny", "tokens": counted["tokens"]}).json(t)
	require.Contains(t, back["prompt"], "the prefill reads the prompt")
}

// TestClose_leavesNoGoroutine is not parallel, because it counts those of the process.
func TestClose_leavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	prefill, decode := start(t, sim.Options{Role: pd.RolePrefill}), start(t, sim.Options{Role: pd.RoleDecode})
	params := leg1(t, prefill, chatPath, chat("x"))
	post(t, decode, chatPath, chat("x", "kv_transfer_params", params)).text(t)
	prefill.Close()
	decode.Close()
	// One more is the goroutine that asks.
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, "all goroutines end")
}

func TestRequestID_fromTheBodyOrTheHeader(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Role: pd.RolePrefill})
	a := post(t, in, chatPath, chat("x", "request_id", "mine", "max_tokens", 1, "kv_transfer_params", ask))
	require.Equal(t, "chatcmpl-mine", a.json(t)["id"])
	require.Regexp(t, "^chatcmpl-mine-[0-9a-f]{8}$", a.params(t)["remote_request_id"])
}
