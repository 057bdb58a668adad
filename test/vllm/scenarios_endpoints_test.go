package vllm

import "strings"

const (
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
)

// response is a request to /v1/responses. vLLM takes temperature 0 here as well.
func (s *session) response(more body) body {
	return body{"model": model, "input": s.text(), "max_output_tokens": 6, "temperature": 0, "store": false}.with(more)
}

// message is a request to /v1/messages.
func (s *session) message(more body) body {
	return body{
		"model": model, "messages": []body{{"role": "user", "content": s.text()}}, "max_tokens": 6, "temperature": 0,
	}.with(more)
}

// endpointScenarios are the generating endpoints that are not OpenAI's oldest
// two, and those that a server for one kind of model does not have.
func endpointScenarios() []scenario {
	var out []scenario
	for _, list := range [][]scenario{responseScenarios(), messageScenarios(), absentScenarios()} {
		out = append(out, list...)
	}
	return out
}

func responseScenarios() []scenario {
	hello := []body{{"role": "user", "content": "hello"}}
	return append(onDecodes(responsesPath, map[string]body{
		"responses_instructions":        {"instructions": "be brief"},
		"responses_input_list":          {"input": hello},
		"responses_input_parts":         {"input": []body{{"role": "user", "content": []body{{"type": "input_text", "text": "hello"}}}}},
		"responses_store":               {"store": true},
		"responses_request_id":          {"request_id": "resp_mine"},
		"responses_metadata":            {"metadata": body{"a": "b"}, "user": "u", "parallel_tool_calls": false},
		"responses_truncation":          {"truncation": "auto"},
		"responses_sampling":            {"temperature": 0.7, "top_p": 0.9, "seed": 3},
		"responses_stream_one_token":    {"stream": true, "max_output_tokens": 1},
		"bad_responses_background":      {"background": true, "store": true},
		"bad_responses_background_only": {"background": true},
		"bad_responses_previous":        {"previous_response_id": "resp_nope"},
		"bad_responses_previous_stream": {"previous_response_id": "resp_nope", "stream": true},
		"bad_responses_required":        {"tool_choice": "required"},
		"bad_responses_max_text":        {"max_output_tokens": "many"},
		"bad_responses_input_null":      {"input": nil},
		"bad_responses_kv_params_text":  {"kv_transfer_params": "x"},
		"bad_responses_prompt":          {"prompt": body{"id": "p"}},
		"bad_responses_unknown_stream":  {"model": "gpt-4", "stream": true},
		"bad_responses_long":            {"input": strings.Repeat("prefill and decode ", 2000)},
	}),
		both("pd_responses", responsesPath, nil),
		both("pd_responses_stream", responsesPath, body{"stream": true}),
		both("pd_responses_request_id", responsesPath, body{"request_id": "resp_mine"}),
		altered("pd_responses_wrong_engine", responsesPath, nil, body{"remote_engine_id": strangerEngine}),
		altered("pd_responses_wrong_engine_stream", responsesPath, body{"stream": true}, body{"remote_engine_id": strangerEngine}),
		scenario{"get_response_unknown", func(s *session) { s.decodeMethod("GET", responsesPath+"/resp_nope") }},
		scenario{"cancel_response_unknown", func(s *session) { s.decodeMethod("POST", responsesPath+"/resp_nope/cancel") }},
		raw("bad_responses_json", responsesPath, `{"model": "x", `),
	)
}

func messageScenarios() []scenario {
	return append(onDecodes(messagesPath, map[string]body{
		"messages_system":             {"system": "be brief"},
		"messages_system_parts":       {"system": []body{{"type": "text", "text": "be brief"}}},
		"messages_parts":              {"messages": []body{{"role": "user", "content": []body{{"type": "text", "text": "hello"}}}}},
		"messages_stop":               {"stop_sequences": []string{"e", "a", "o"}, "max_tokens": 64},
		"messages_sampling":           {"temperature": 0.7, "top_p": 0.9, "top_k": 5},
		"messages_metadata":           {"metadata": body{"user_id": "u"}},
		"messages_thinking_disabled":  {"thinking": body{"type": "disabled"}},
		"messages_stream_one_token":   {"stream": true, "max_tokens": 1},
		"bad_messages_max_zero":       {"max_tokens": 0},
		"bad_messages_max_text":       {"max_tokens": "many"},
		"bad_messages_model_absent":   {"model": absent},
		"bad_messages_absent_list":    {"messages": absent},
		"bad_messages_kv_params_text": {"kv_transfer_params": "x"},
		"bad_messages_unknown_stream": {"model": "gpt-4", "stream": true},
		"bad_messages_long":           {"messages": []body{{"role": "user", "content": strings.Repeat("prefill and decode ", 2000)}}},
		"bad_messages_temperature":    {"temperature": -1},
	}),
		both("pd_messages", messagesPath, nil),
		both("pd_messages_stream", messagesPath, body{"stream": true}),
		both("pd_messages_system", messagesPath, body{"system": "be brief"}),
		altered("pd_messages_wrong_engine", messagesPath, nil, body{"remote_engine_id": strangerEngine}),
		altered("pd_messages_wrong_engine_stream", messagesPath, body{"stream": true}, body{"remote_engine_id": strangerEngine}),
		scenario{"messages_request_id_header", func(s *session) { s.decode(messagesPath, s.message(nil), "X-Request-Id", "r-1") }},
		raw("bad_messages_json", messagesPath, `{"model": "x", `),
		scenario{"count_tokens", func(s *session) {
			s.decode(messagesPath+"/count_tokens", body{"model": model, "messages": []body{{"role": "user", "content": "hello"}}})
		}},
		scenario{"count_tokens_unknown_model", func(s *session) {
			s.decode(messagesPath+"/count_tokens", body{"model": "gpt-4", "messages": []body{{"role": "user", "content": "hello"}}})
		}},
		scenario{"count_tokens_no_messages", func(s *session) { s.decode(messagesPath+"/count_tokens", body{"model": model}) }},
	)
}

// absentScenarios ask for what a server that generates text does not have, or
// has only where it was told to.
func absentScenarios() []scenario {
	var out []scenario
	for name, path := range map[string]string{
		"pooling": "/pooling", "classify": "/classify", "score": "/score", "score_v1": "/v1/score",
		"rerank": "/rerank", "rerank_v1": "/v1/rerank", "rerank_v2": "/v2/rerank", "embed_v2": "/v2/embed",
		"transcriptions": "/v1/audio/transcriptions", "translations": "/v1/audio/translations",
		"load_lora": "/v1/load_lora_adapter", "unload_lora": "/v1/unload_lora_adapter", "tokenizer_info": "/tokenizer_info",
		"sleep": "/sleep", "collective_rpc": "/collective_rpc",
	} {
		out = append(out, scenario{"absent_" + name, func(s *session) { s.decode(path, body{"model": model, "input": "x"}) }})
	}
	return append(out,
		scenario{"tokenize_chat", func(s *session) {
			s.decode("/tokenize", body{"model": model, "messages": []body{{"role": "user", "content": "hello"}}})
		}},
		scenario{"tokenize_strings", func(s *session) {
			s.decode("/tokenize", body{"model": model, "prompt": "one fish", "return_token_strs": true})
		}},
		scenario{"detokenize_unknown_model", func(s *session) { s.decode("/detokenize", body{"model": "gpt-4", "tokens": []int{10}}) }},
		scenario{"detokenize_nothing", func(s *session) { s.decode("/detokenize", body{"model": model}) }},
	)
}
