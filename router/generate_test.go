package router

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestGenerate_disaggregates(t *testing.T) {
	r, p, d := pair(t)
	for _, c := range []struct{ path, body string }{
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":20}`},
		{chatPath, `{"model":"m","messages":[],"max_completion_tokens":20,"min_tokens":3,"min_completion_tokens":2}`},
		{chatPath, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		{cmplPath, `{"model":"m","prompt":"once upon"}`},
		{cmplPath, `{"model":"m","prompt":[1,2,3],"stream":true,"n":1,"best_of":1,"use_beam_search":false,"echo":false}`},
		{cmplPath, `{"prompt":["only one"],"min_tokens":4,"max_tokens":9,"truncate_prompt_tokens":5}`},
	} {
		before := len(p.requests())
		got := r.post(c.path, c.body)
		got.served(t, pd.PathDisaggregated, "")
		require.Contains(t, got.body, "kv", c.body)
		require.Equal(t, "p", got.Header.Get(pd.HeaderPrefill))
		require.Equal(t, "d", got.Header.Get(pd.HeaderDecode))
		require.Regexp(t, `^prefill;dur=[0-9.]+, decode;dur=[0-9.]+$`, got.Header.Get(pd.HeaderServerTiming))
		require.Len(t, p.requests(), before+1)
		if strings.Contains(c.body, "stream") {
			require.Contains(t, got.body, "data: [DONE]\n\n")
		}
	}
	require.Len(t, d.requests(), 6)
	require.Equal(t, 6.0, r.metric("pd_router_requests_total", "path", "disaggregated", "reason", "", "code", "200"))
	require.Equal(t, 6.0, r.metric("pd_router_leg_duration_seconds", "leg", "prefill"))
	require.Equal(t, 2.0, r.metric("pd_router_time_to_first_token_seconds", "path", "disaggregated"))
}

func TestGenerate_leg2IsTheClientsBodyByteForByte(t *testing.T) {
	r, _, d := pair(t)
	body := `{ "z":1e400,"model" : "m","big":9007199254740993,"prompt":"é\u00e9\ud800", "kv_transfer_params":{"do_remote_prefill":true},` +
		`"max_tokens":7,"unknown":{"b":[1.0,2],"a":null} }`
	r.post(cmplPath, body).served(t, pd.PathDisaggregated, "")
	raw := d.requests()[0].raw
	at := strings.Index(raw, `,"kv_transfer_params":`)
	require.Positive(t, at)
	require.Equal(t, `{ "z":1e400,"model" : "m","big":9007199254740993,"prompt":"é\u00e9\ud800",`+
		`"max_tokens":7,"unknown":{"b":[1.0,2],"a":null}`, raw[:at])
	require.True(t, strings.HasSuffix(raw, "} }"))
}

func TestGenerate_clientsTransferParamsNeverReachAnInstance(t *testing.T) {
	for _, local := range []string{``, `,"n":2`} {
		r, p, d := pair(t)
		for _, hostile := range []string{
			`"kv_transfer_params":{"evil":1}`,
			`"kv_transfer_params":null`,
			`"kv_transfer_params":{"evil":1},"kv_transfer_params":{"evil":2}`,
			`"kv_transfer_par\u0061ms":{"evil":1}`,
			`"\u006bv_transfer_params":{"evil":1},"kv_transfer_params":"evil"`,
			`"ec_transfer_params":{"evil":1}`,
			`"vllm_xargs":{"kv_transfer_params":"evil","keep":1}`,
			`"vllm_xargs":{"evil":1},"vllm_xargs":{"keep":1,"kv_transfer_p\u0061rams":"evil"}`,
		} {
			got := r.post(cmplPath, `{"prompt":"x",`+hostile+local+`}`, "X-Pd-Prefill", "evil", "x-pd-anything", "evil")
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Equal(t, local != "", strings.Contains(got.body, `"local `), "kv comes from a prefill or not at all: %s", got.body)
		}
		for _, s := range append(p.requests(), d.requests()...) {
			require.NotContains(t, s.raw, "evil")
			if x, ok := s.body["vllm_xargs"]; ok {
				require.Contains(t, string(x), `"keep":1`)
			}
		}
	}
}

func TestGenerate_whatTwoLegsCannotCarryGoesLocal(t *testing.T) {
	r, p, _ := pair(t)
	for body, want := range map[string]pd.Reason{
		`"n":2`:                            pd.ReasonMultipleChoices,
		`"n":"2"`:                          pd.ReasonMultipleChoices,
		`"n":1,"n":3`:                      pd.ReasonMultipleChoices,
		`"best_of":4`:                      pd.ReasonMultipleChoices,
		`"use_beam_search":true`:           pd.ReasonMultipleChoices,
		`"prompt":["a","b"]`:               pd.ReasonListPrompt,
		`"prompt":[[1,2],[3]]`:             pd.ReasonListPrompt,
		`"prompt_logprobs":0`:              pd.ReasonUnsupportedRequest,
		`"echo":true,"logprobs":1`:         pd.ReasonUnsupportedRequest,
		`"prompt_embeds":"AAAA"`:           pd.ReasonUnsupportedRequest,
		`"truncate_prompt_tokens":-1`:      pd.ReasonUnsupportedRequest,
		`"n":1,"echo":1`:                   pd.ReasonUnsupportedRequest,
		`"best_of":null,"prompt":["a",""]`: pd.ReasonListPrompt,
	} {
		got := r.post(cmplPath, `{"prompt":"x",`+body+`}`)
		got.served(t, pd.PathLocal, want)
		require.Contains(t, got.body, `"local `)
		require.Empty(t, got.Header.Get(pd.HeaderPrefill))
		require.NotEmpty(t, got.Header.Get(pd.HeaderDecode))
	}
	require.Empty(t, p.requests())
	require.Equal(t, 5.0, r.metric("pd_router_requests_total", "path", "local", "reason", "multiple_choices", "code", "200"))
}

func TestGenerate_requestIDIsTheSameEverywhere(t *testing.T) {
	r, p, d := pair(t)
	got := r.post(cmplPath, `{"prompt":"x"}`, "X-Request-Id", "mine-1.2:3")
	require.Equal(t, []string{"mine-1.2:3"}, got.Header.Values(pd.HeaderRequestID))
	for _, insane := range []string{"", "with space", "new\tline", strings.Repeat("x", 129), "é"} {
		got := r.post(cmplPath, `{"prompt":"x"}`, "X-Request-Id", insane)
		id := got.Header.Get(pd.HeaderRequestID)
		require.Len(t, id, 36)
		last := func(e *engine) []string { s := e.requests(); return s[len(s)-1].header.Values(pd.HeaderRequestID) }
		require.Equal(t, []string{id}, last(p))
		require.Equal(t, []string{id}, last(d))
	}
}

func TestGenerate_authorizationIsPassedOnOrReplaced(t *testing.T) {
	world := newEngines(t)
	p, d := world.start(), world.start()
	for value, want := range map[string]string{"": "Bearer client", "sk-ours": "Bearer sk-ours"} {
		key := NewSecret(value)
		r := newRigWith(t, Config{UpstreamAPIKey: key}, inst("p", p.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode))
		r.post(cmplPath, `{"prompt":"x"}`, "Authorization", "Bearer client", "Connection", "x-hop", "X-Hop", "1",
			"Accept-Encoding", "gzip", "Idempotency-Key", "k", "X-Other", "kept")
		for _, e := range []*engine{p, d} {
			s := e.requests()
			h := s[len(s)-1].header
			require.Equal(t, want, h.Get("Authorization"))
			require.Equal(t, "kept", h.Get("X-Other"))
			for _, gone := range []string{"X-Hop", "Accept-Encoding", "Idempotency-Key"} {
				require.Empty(t, h.Values(gone), gone)
			}
		}
		require.NotContains(t, r.log.String(), "sk-ours")
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", key, key, r.server.cfg), "sk-ours")
	}
}

func TestGenerate_oneLogLineAndNoPrompt(t *testing.T) {
	r, _, _ := pair(t)
	r.post(chatPath, `{"model":"m","messages":[{"role":"user","content":"my secret"}]}`, "X-Request-Id", "the-id")
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "request_id=the-id") }, waitFor, tick)
	line := r.log.String()
	require.Equal(t, 1, strings.Count(line, "the-id"))
	for _, want := range []string{"path=disaggregated", "prefill=p", "decode=d", "status=200", "prefill_ms=", "total_ms="} {
		require.Contains(t, line, want)
	}
	require.NotContains(t, line, "my secret")
	require.NotContains(t, line, "remote_block_ids")
}

func TestGenerate_refusesWhatIsNotJSON(t *testing.T) {
	r, p, d := pair(t)
	for _, bad := range []string{
		"", "{", "[]", `"x"`, "null", `{"a":NaN}`, `{"a":1} x`, `{"a":1}{"b":2}`, "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}",
		`{"a":01}`, `{'a':1}`, `{"a":"` + "\n" + `"}`, `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
	} {
		e := r.post(chatPath, bad).apiError(t, 400)
		require.Equal(t, typeBadRequest, e.Type)
	}
	require.Equal(t, "model", r.post(chatPath, `{"model":5}`).apiError(t, 400).Param)
	require.Empty(t, p.requests())
	require.Empty(t, d.requests())
}

func TestGenerate_refusesABodyThatIsTooLarge(t *testing.T) {
	world := newEngines(t)
	d := world.start()
	r := newRigWith(t, Config{MaxBody: 1024}, inst("d", d.URL, pd.RoleDecode))
	r.post(cmplPath, `{"prompt":"`+strings.Repeat("x", 2000)+`"}`).apiError(t, 413)
	r.post(cmplPath, `{"prompt":"`+strings.Repeat("x", 900)+`"}`).served(t, pd.PathLocal, pd.ReasonNoPrefillInstance)
}

func TestGenerate_otherMethodsAndPaths(t *testing.T) {
	r, _, _ := pair(t)
	require.Equal(t, "POST", r.do("PUT", chatPath, "").Header.Get("Allow"))
	r.get(chatPath).apiError(t, 405)
	require.Contains(t, r.get("/v1/nope").apiError(t, 404).Message, "/v1/chat/completions")
}
