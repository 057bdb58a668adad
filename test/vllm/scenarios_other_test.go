package vllm

import "strings"

// otherScenarios are the other endpoints, headers, and what no endpoint takes.
func otherScenarios() []scenario {
	method := func(name, m, path string) scenario {
		return scenario{name, func(s *session) { s.decodeMethod(m, path) }}
	}
	withHeader := func(name string, header ...string) scenario {
		return scenario{name, func(s *session) { s.decode(chatPath, s.chat(nil), header...) }}
	}
	post := func(name, path string, b body) scenario {
		return scenario{name, func(s *session) { s.decode(path, b) }}
	}
	long := strings.Repeat("prefill and decode ", 2000)
	return []scenario{
		method("get_health", "GET", "/health"),
		method("post_health", "POST", "/health"),
		method("get_version", "GET", "/version"),
		method("get_ping", "GET", "/ping"),
		method("get_load", "GET", "/load"),
		method("get_models", "GET", "/v1/models"),
		method("get_model_unknown", "GET", "/v1/models/nope"),
		method("get_model_known", "GET", "/v1/models/"+model),
		method("get_chat", "GET", chatPath),
		method("delete_chat", "DELETE", chatPath),
		method("options_chat", "OPTIONS", chatPath),
		method("get_nothing", "GET", "/nothing"),
		method("get_chat_slash", "GET", "/v1/chat/completions/"),
		method("post_chat_slash", "POST", "/v1/chat/completions/"),
		method("get_v1", "GET", "/v1"),
		post("post_embeddings", "/v1/embeddings", body{"model": model, "input": "x"}),
		post("post_reset_prefix_cache", "/reset_prefix_cache", body{}),
		post("tokenize", "/tokenize", body{"model": model, "prompt": "one fish two fish"}),
		post("tokenize_unknown_model", "/tokenize", body{"model": "gpt-4", "prompt": "one fish"}),
		post("tokenize_nothing", "/tokenize", body{"model": model}),
		post("detokenize", "/detokenize", body{"model": model, "tokens": []int{10, 11}}),

		withHeader("header_request_id", "X-Request-Id", "r-1"),
		withHeader("header_request_id_odd", "X-Request-Id", "a b/ü"),
		withHeader("header_request_id_empty", "X-Request-Id", ""),
		withHeader("header_dp_rank", "X-Data-Parallel-Rank", "0"),
		withHeader("header_dp_rank_high", "X-Data-Parallel-Rank", "7"),
		withHeader("header_dp_rank_text", "X-Data-Parallel-Rank", "x"),
		withHeader("header_orca_text", "Endpoint-Load-Metrics-Format", "TEXT"),
		withHeader("header_orca_json", "Endpoint-Load-Metrics-Format", "JSON"),
		withHeader("header_orca_odd", "Endpoint-Load-Metrics-Format", "XML"),
		withHeader("header_auth_unneeded", "Authorization", "Bearer x"),
		withHeader("header_content_type_charset", "Content-Type", "application/json; charset=utf-8"),

		post("long_chat", chatPath, body{"model": model, "messages": []body{{"role": "user", "content": long}}}),
		post("long_chat_stream", chatPath, body{"model": model, "stream": true, "messages": []body{{"role": "user", "content": long}}}),
		post("long_cmpl", completionPath, body{"model": model, "prompt": long}),
		{"long_leg1", func(s *session) {
			s.prefill(chatPath, leg1(s.chat(body{"messages": []body{{"role": "user", "content": long}}})))
		}},

		post("responses", "/v1/responses", body{"model": model, "input": "hello", "max_output_tokens": 4, "store": false}),
		post("responses_stream", "/v1/responses", body{"model": model, "input": "hello", "max_output_tokens": 4, "store": false, "stream": true}),
		post("responses_no_input", "/v1/responses", body{"model": model}),
		post("responses_unknown_model", "/v1/responses", body{"model": "gpt-4", "input": "x"}),
		{"responses_pd", func(s *session) {
			b := body{"model": model, "input": s.text(), "max_output_tokens": 4, "store": false}
			first := s.prefill("/v1/responses", b.with(body{"max_output_tokens": 1, "kv_transfer_params": askParams()}))
			s.decode("/v1/responses", b.with(body{"kv_transfer_params": first.params(nil)}))
		}},
		post("messages", "/v1/messages", body{"model": model, "max_tokens": 4, "messages": []body{{"role": "user", "content": "hello"}}}),
		post("messages_stream", "/v1/messages", body{"model": model, "max_tokens": 4, "stream": true, "messages": []body{{"role": "user", "content": "hello"}}}),
		post("messages_no_max", "/v1/messages", body{"model": model, "messages": []body{{"role": "user", "content": "hello"}}}),
		post("messages_unknown_model", "/v1/messages", body{"model": "gpt-4", "max_tokens": 4, "messages": []body{{"role": "user", "content": "hello"}}}),
		{"messages_pd", func(s *session) {
			b := body{"model": model, "max_tokens": 4, "messages": []body{{"role": "user", "content": s.text()}}}
			first := s.prefill("/v1/messages", b.with(body{"max_tokens": 1, "kv_transfer_params": askParams()}))
			s.decode("/v1/messages", b.with(body{"kv_transfer_params": first.params(nil)}))
		}},
	}
}
