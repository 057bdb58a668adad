package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// rowTokens is how many tokens the rows ask for.
const rowTokens = 6

var (
	// rowPrompt is some blocks long.
	rowPrompt = strings.Repeat("the prefill reads and the decode writes ", 20)
	// The request of the rows that are played on one endpoint only.
	rowJSON   = completions().request(rowTokens)
	rowStream = completions().streamed(rowTokens)
)

// dialect is how one endpoint says what the rows of docs/failures.md speak of.
type dialect struct {
	name, path string
	asks       string // a request but for its end
	limit      string // the member that limits the answer

	opening string // what a stream announces before the engine has done anything
	token   string // the event of a token, "one"
	failed  string // the event of an error, "dead"
	end     string // what follows an error event
	last    string // what ends a whole stream
	early   int    // events of a stream with its second token

	empty, aborted string // streams without a token, after the opening
	whole          string // an answer of one token that is no stream
	none           string // one that counts no token

	failure string // an error with a status, of which %d is put in
}

func dialects() []dialect {
	return []dialect{completions(), chat(), responses(), messages()}
}

func completions() dialect {
	return dialect{
		name: "completions", path: cmplPath, asks: fmt.Sprintf(`{"model":"m","prompt":%q,"temperature":0`, rowPrompt), limit: "max_tokens",
		token:  data(`{"choices":[{"index":0,"text":"one","finish_reason":null}]}`),
		failed: data(`{"error": {"message": "dead", "type": "InternalServerError", "param": null, "code": 500}}`), end: data("[DONE]"), last: data("[DONE]"), early: 2,
		empty:   data("[DONE]"),
		aborted: data(`{"choices":[{"index":0,"text":"","finish_reason":"abort"}]}`) + data("[DONE]"),
		whole:   `{"choices":[{"index":0,"text":"one","finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`,
		none:    `{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":0}}`,
		failure: openAIFailure,
	}
}

func chat() dialect {
	return dialect{
		name: "chat", path: chatPath, asks: fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}],"temperature":0`, rowPrompt), limit: "max_tokens",
		opening: data(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`),
		token:   data(`{"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}`),
		failed:  data(`{"error": {"message": "dead", "type": "InternalServerError", "param": null, "code": 500}}`), end: data("[DONE]"), last: data("[DONE]"), early: 3,
		empty:   data("[DONE]"),
		aborted: data(`{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"abort"}]}`) + data("[DONE]"),
		whole:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`,
		none:    `{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":0}}`,
		failure: openAIFailure,
	}
}

func responses() dialect {
	const answer = `{"object":"response","status":%q,"output":[{"type":"message","content":[{"type":"output_text","text":%q}]}],` +
		`"usage":{"input_tokens":9,"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0}}}`
	return dialect{
		name: "responses", path: responsesPath, asks: fmt.Sprintf(`{"model":"m","input":%q,"temperature":0`, rowPrompt), limit: "max_output_tokens",
		opening: named("response.created", `"response":{"status":"in_progress","usage":null},"sequence_number":0`) +
			named("response.in_progress", `"response":{"status":"in_progress","usage":null},"sequence_number":1`),
		token:   named("response.output_text.delta", `"delta":"one","sequence_number":2`),
		failed:  named("response.failed", `"response":{"status":"failed","error":{"code":"server_error","message":"dead"}}`),
		last:    named("response.completed", `"response":{"status":"incomplete"}`),
		early:   6,
		empty:   named("response.completed", fmt.Sprintf(`"response":`+answer, "completed", "", 0)),
		aborted: named("response.completed", fmt.Sprintf(`"response":`+answer, "cancelled", "", 0)),
		whole:   fmt.Sprintf(answer, "incomplete", "one", 1), none: fmt.Sprintf(answer, "completed", "", 0),
		failure: openAIFailure,
	}
}

func messages() dialect {
	const answer = `{"type":"message","role":"assistant","content":[{"type":"text","text":%q}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":%d}}`
	last := func(reason string) string {
		return named("message_delta", `"delta":{"stop_reason":`+reason+`},"usage":{"output_tokens":0}`) + named("message_stop", `"end":true`)
	}
	return dialect{
		name: "messages", path: messagesPath, asks: fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}],"temperature":0`, rowPrompt), limit: "max_tokens",
		opening: named("message_start", `"message":{"content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":0}}`),
		token:   named("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"one"}`),
		failed:  named("error", `"error":{"type":"internal_error","message":"dead"}`), last: named("message_stop", `"end":true`), early: 4,
		empty: last(`"end_turn"`), aborted: last("null"),
		whole: fmt.Sprintf(answer, "one", 1), none: fmt.Sprintf(answer, "", 0),
		failure: `{"type":"error","error":{"type":"X","message":"engine says %d"}}`,
	}
}

const openAIFailure = `{"error":{"message":"engine says %[1]d","type":"X","param":null,"code":%[1]d}}`

// data is an event without a name.
func data(doc string) string { return "data: " + doc + "\n\n" }

// named is an event with one, whose data repeats it.
func named(name, members string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q,%s}\n\n", name, name, members)
}

// request asks for n tokens, streamed for a stream of them.
func (d dialect) request(n int) string { return fmt.Sprintf(`%s,"%s":%d}`, d.asks, d.limit, n) }

func (d dialect) streamed(n int) string {
	return strings.TrimSuffix(d.request(n), "}") + `,"ignore_eos":true,"stream":true}`
}

// status answers with an error in the endpoint's shape.
func (d dialect) status(code int) handler {
	return func(_ int, w http.ResponseWriter, _ *http.Request, _ map[string]json.RawMessage) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, d.failure, code)
		return true
	}
}

// errorOf is the message of an error in the endpoint's shape.
func (d dialect) errorOf(t *testing.T, got reply, code int) string {
	t.Helper()
	if d.path != messagesPath {
		return got.apiError(t, code).Message
	}
	require.Equal(t, code, got.StatusCode, got.body)
	var e struct {
		Type  string
		Error struct{ Type, Message string }
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &e), got.body)
	require.Equal(t, "error", e.Type)
	require.NotEmpty(t, e.Error.Type)
	require.NotEmpty(t, e.Error.Message)
	return e.Error.Message
}

// onEach plays on all endpoints at once: what takes long in a row is to wait.
func onEach(t *testing.T, play func(t *testing.T, d dialect)) {
	var all sync.WaitGroup
	for _, d := range dialects() {
		all.Go(func() { t.Run(d.name, func(t *testing.T) { play(t, d) }) })
	}
	all.Wait()
}

// undisturbed is what each endpoint says to the rows' request where nothing breaks.
func undisturbed(t *testing.T) map[string]string {
	out := map[string]string{}
	alone := newRig(t, inst("alone", startSim(t, "", "").URL(), pd.RoleDecode))
	for _, d := range dialects() {
		whole, stream := text(t, alone.post(d.path, d.request(rowTokens)).body), d.hear(t, alone.post(d.path, d.streamed(rowTokens)).body)
		require.Len(t, strings.Fields(whole), rowTokens, "a word a token: %s", whole)
		require.Equal(t, heard{text: whole, whole: true}, stream)
		out[d.name] = whole
	}
	return out
}
