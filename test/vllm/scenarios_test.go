package vllm

// scenarios are all exchanges that the simulator is held to.
func scenarios() []scenario {
	var out []scenario
	for _, list := range [][]scenario{chatScenarios(), badChatScenarios(), completionScenarios(), handoffScenarios(), otherScenarios(), endpointScenarios()} {
		out = append(out, list...)
	}
	return out
}

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

// onDecode is one request to the decode, made from the scenario's default body.
func onDecode(name, path string, more body) scenario {
	return scenario{name, func(s *session) { s.decode(path, s.defaultBody(path, more)) }}
}

func (s *session) defaultBody(path string, more body) body {
	switch path {
	case chatPath:
		return s.chat(more)
	case responsesPath:
		return s.response(more)
	case messagesPath:
		return s.message(more)
	}
	return s.completion(more)
}

// raw is one request to the decode with the body as it is.
func raw(name, path, text string, header ...string) scenario {
	return scenario{name, func(s *session) { s.decode(path, text, header...) }}
}

func onDecodes(path string, cases map[string]body) []scenario {
	var out []scenario
	for name, more := range cases {
		out = append(out, onDecode(name, path, more))
	}
	return out
}

var weatherTool = []body{{"type": "function", "function": body{
	"name": "weather", "description": "the weather in a city",
	"parameters": body{"type": "object", "properties": body{"city": body{"type": "string"}}, "required": []string{"city"}},
}}}

// chatScenarios are requests that vLLM answers.
func chatScenarios() []scenario {
	return onDecodes(chatPath, map[string]body{
		"chat":                        {},
		"chat_stream":                 {"stream": true},
		"chat_stream_one_token":       {"stream": true, "max_tokens": 1},
		"chat_stream_usage":           {"stream": true, "stream_options": body{"include_usage": true}},
		"chat_stream_usage_each":      {"stream": true, "stream_options": body{"include_usage": true, "continuous_usage_stats": true}},
		"chat_stream_options_empty":   {"stream": true, "stream_options": body{}},
		"chat_logprobs":               {"logprobs": true, "top_logprobs": 2},
		"chat_logprobs_no_top":        {"logprobs": true},
		"chat_logprobs_stream":        {"logprobs": true, "top_logprobs": 2, "stream": true},
		"chat_prompt_logprobs":        {"prompt_logprobs": 1},
		"chat_token_ids":              {"return_token_ids": true},
		"chat_token_ids_stream":       {"return_token_ids": true, "stream": true},
		"chat_tokens_as_ids":          {"return_tokens_as_token_ids": true, "logprobs": true},
		"chat_n2":                     {"n": 2, "temperature": 1},
		"chat_n2_stream":              {"n": 2, "temperature": 1, "stream": true},
		"chat_seed":                   {"seed": 7, "temperature": 0.7},
		"chat_penalties":              {"presence_penalty": 1, "frequency_penalty": 1, "repetition_penalty": 1.1},
		"chat_min_tokens":             {"min_tokens": 5},
		"chat_max_completion_tokens":  {"max_tokens": absent, "max_completion_tokens": 3},
		"chat_both_maxima":            {"max_tokens": 5, "max_completion_tokens": 2},
		"chat_ignore_eos":             {"ignore_eos": true},
		"chat_stop":                   {"stop": []string{"e", "a", "o"}, "min_tokens": 3, "max_tokens": 64},
		"chat_stop_stream":            {"stop": []string{"e", "a", "o"}, "min_tokens": 3, "max_tokens": 64, "stream": true},
		"chat_stop_text":              {"stop": "e", "min_tokens": 3, "max_tokens": 64, "include_stop_str_in_output": true},
		"chat_echo":                   {"echo": true},
		"chat_echo_stream":            {"echo": true, "stream": true},
		"chat_tools_none":             {"tools": weatherTool, "tool_choice": "none"},
		"chat_json_object":            {"response_format": body{"type": "json_object"}, "max_tokens": 1},
		"chat_response_format_text":   {"response_format": body{"type": "text"}},
		"chat_unknown_field":          {"no_such_field": 1, "user": "u", "metadata": body{"a": "b"}},
		"chat_null_fields":            {"n": nil, "stream": nil, "stop": nil, "temperature": nil, "logprobs": nil},
		"chat_cache_salt":             {"cache_salt": "pepper"},
		"chat_priority":               {"priority": 0},
		"chat_request_id":             {"request_id": "mine"},
		"chat_logit_bias":             {"logit_bias": body{"7": 5}},
		"chat_bad_words":              {"bad_words": []string{"prefill"}},
		"chat_allowed_tokens":         {"allowed_token_ids": []int{11, 12, 13}},
		"chat_truncate":               {"truncate_prompt_tokens": 20},
		"chat_content_parts":          {"messages": []body{{"role": "user", "content": []body{{"type": "text", "text": "one"}, {"type": "text", "text": "two"}}}}},
		"chat_assistant_last":         {"messages": []body{{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}}},
		"chat_continue_final":         {"messages": []body{{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}}, "add_generation_prompt": false, "continue_final_message": true},
		"chat_tool_role":              {"messages": []body{{"role": "user", "content": "hello"}, {"role": "tool", "tool_call_id": "x", "content": "18 degrees"}}},
		"chat_developer_role":         {"messages": []body{{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hello"}}},
		"chat_kv_params_null":         {"kv_transfer_params": nil},
		"chat_reasoning_effort":       {"reasoning_effort": "low"},
		"chat_model_absent":           {"model": absent},
		"chat_model_null":             {"model": nil},
		"chat_max_tokens_null":        {"max_tokens": nil, "stop": []string{"e", "a", "o"}, "min_tokens": 3},
		"chat_parallel_tool_calls":    {"parallel_tool_calls": false},
		"chat_top_k_off":              {"top_k": -1, "temperature": 1, "min_p": 0.1},
		"chat_stream_interval":        {"stream": true, "stream_interval": 4},
		"chat_skip_special":           {"skip_special_tokens": false, "spaces_between_special_tokens": false},
		"chat_content_null":           {"messages": []body{{"role": "assistant", "content": nil}}},
		"chat_kv_params_neither":      {"kv_transfer_params": body{"do_remote_prefill": false, "do_remote_decode": false}},
		"chat_prompt_token_ids_logps": {"prompt_logprobs": 0, "return_token_ids": true},
	})
}

// badChatScenarios are requests that vLLM refuses.
func badChatScenarios() []scenario {
	return append(onDecodes(chatPath, map[string]body{
		"bad_max_tokens_zero":         {"max_tokens": 0},
		"bad_max_tokens_text":         {"max_tokens": "many"},
		"bad_max_tokens_number_text":  {"max_tokens": "5"},
		"bad_max_tokens_fraction":     {"max_tokens": 1.5},
		"bad_max_tokens_huge":         {"max_tokens": 100000},
		"bad_max_completion_negative": {"max_completion_tokens": -1},
		"bad_temperature_text":        {"temperature": "warm"},
		"bad_temperature_negative":    {"temperature": -1},
		"bad_top_p_zero":              {"top_p": 0},
		"bad_top_p_high":              {"top_p": 1.5},
		"bad_top_k":                   {"top_k": -2},
		"bad_min_p":                   {"min_p": 2},
		"bad_presence_penalty":        {"presence_penalty": 3},
		"bad_repetition_penalty":      {"repetition_penalty": 0},
		"bad_seed_text":               {"seed": "x"},
		"bad_min_tokens":              {"min_tokens": 20, "max_tokens": 5},
		"bad_min_tokens_negative":     {"min_tokens": -1},
		"bad_n_greedy":                {"n": 2, "temperature": 0},
		"bad_n_text":                  {"n": "two"},
		"bad_n_huge":                  {"n": 1000000, "temperature": 1},
		"bad_stop_number":             {"stop": 5},
		"bad_stop_empty":              {"stop": ""},
		"bad_stop_token_ids":          {"stop_token_ids": []string{"x"}},
		"bad_logprobs_text":           {"logprobs": "yes please"},
		"bad_top_logprobs_alone":      {"top_logprobs": 2},
		"bad_top_logprobs_high":       {"logprobs": true, "top_logprobs": 100},
		"bad_prompt_logprobs_stream":  {"prompt_logprobs": 1, "stream": true},
		"bad_prompt_logprobs_high":    {"prompt_logprobs": 100},
		"bad_stream_text":             {"stream": "perhaps"},
		"bad_stream_options_text":     {"stream": true, "stream_options": "usage"},
		"bad_messages_empty":          {"messages": []body{}},
		"bad_messages_absent":         {"messages": absent},
		"bad_messages_null":           {"messages": nil},
		"bad_message_no_content":      {"messages": []body{{"role": "user"}}},
		"bad_message_no_role":         {"messages": []body{{"content": "x"}}},
		"bad_message_content_number":  {"messages": []body{{"role": "user", "content": 5}}},
		"bad_image":                   {"messages": []body{{"role": "user", "content": []body{{"type": "image_url", "image_url": body{"url": "http://127.0.0.1:9/x.png"}}}}}},
		"bad_part_type":               {"messages": []body{{"role": "user", "content": []body{{"type": "smell"}}}}},
		"bad_tools_auto":              {"tools": weatherTool},
		"bad_tools_auto_said":         {"tools": weatherTool, "tool_choice": "auto"},
		"bad_tool_choice_no_tools":    {"tool_choice": "required"},
		"bad_tool_choice_unknown":     {"tools": weatherTool, "tool_choice": body{"type": "function", "function": body{"name": "nope"}}},
		"bad_tools_empty":             {"tools": []body{}},
		"bad_response_format":         {"response_format": body{"type": "poem"}},
		"bad_json_schema_none":        {"response_format": body{"type": "json_schema"}},
		"bad_logit_bias":              {"logit_bias": body{"x": 1}},
		"bad_logit_bias_token":        {"logit_bias": body{"99999999": 1}},
		"bad_allowed_tokens_empty":    {"allowed_token_ids": []int{}},
		"bad_cache_salt_empty":        {"cache_salt": ""},
		"bad_cache_salt_number":       {"cache_salt": 5},
		"bad_priority":                {"priority": 3},
		"bad_continue_and_generate":   {"continue_final_message": true, "add_generation_prompt": true},
		"bad_beam":                    {"use_beam_search": true, "n": 2},
		"bad_kv_params_list":          {"kv_transfer_params": []int{1}},
		"bad_kv_params_number":        {"kv_transfer_params": 5},
		"bad_model_number":            {"model": 5},
		"bad_model_empty":             {"model": ""},
		"bad_model_unknown_stream":    {"model": "gpt-4", "stream": true},
		"bad_truncate":                {"truncate_prompt_tokens": -5},
		"bad_two_mistakes":            {"temperature": "warm", "max_tokens": "many"},
	}),
		raw("bad_json", chatPath, `{"model": "x", `),
		raw("bad_json_text", chatPath, `hello`),
		raw("bad_json_array", chatPath, `[1, 2]`),
		raw("bad_json_string", chatPath, `"hello"`),
		raw("bad_json_null", chatPath, `null`),
		raw("bad_json_nan", chatPath, `{"model": "`+model+`", "temperature": NaN, "messages": [{"role":"user","content":"x"}]}`),
		raw("bad_utf8", chatPath, "{\"model\": \"\xff\xfe\", \"messages\": []}"),
		raw("bad_content_type", chatPath, `{"model": "x", "messages": []}`, "Content-Type", "text/plain"),
		raw("bad_body_empty", chatPath, ``),
	)
}

// completionScenarios are what /v1/completions takes and refuses.
func completionScenarios() []scenario {
	return onDecodes(completionPath, map[string]body{
		"cmpl":                     {},
		"cmpl_stream":              {"stream": true},
		"cmpl_stream_usage":        {"stream": true, "stream_options": body{"include_usage": true}},
		"cmpl_stream_usage_each":   {"stream": true, "stream_options": body{"include_usage": true, "continuous_usage_stats": true}},
		"cmpl_default_max":         {"max_tokens": absent},
		"cmpl_echo":                {"echo": true},
		"cmpl_echo_stream":         {"echo": true, "stream": true},
		"cmpl_echo_only":           {"echo": true, "max_tokens": 0},
		"cmpl_echo_logprobs":       {"echo": true, "logprobs": 1},
		"cmpl_logprobs":            {"logprobs": 2},
		"cmpl_logprobs_zero":       {"logprobs": 0},
		"cmpl_logprobs_stream":     {"logprobs": 2, "stream": true},
		"cmpl_prompt_logprobs":     {"prompt_logprobs": 1},
		"cmpl_list":                {"prompt": []string{"one fish", "two fish"}},
		"cmpl_list_stream":         {"prompt": []string{"one fish", "two fish"}, "stream": true},
		"cmpl_list_of_one":         {"prompt": []string{"one fish"}},
		"cmpl_tokens":              {"prompt": []int{10, 11, 12, 13}},
		"cmpl_token_lists":         {"prompt": [][]int{{10, 11}, {12, 13}}},
		"cmpl_n2":                  {"n": 2, "temperature": 1},
		"cmpl_n2_stream":           {"n": 2, "temperature": 1, "stream": true},
		"cmpl_token_ids":           {"return_token_ids": true},
		"cmpl_token_ids_stream":    {"return_token_ids": true, "stream": true},
		"cmpl_stop":                {"stop": []string{"e", "a", "o"}, "min_tokens": 3, "max_tokens": 64},
		"cmpl_stop_stream":         {"stop": []string{"e", "a", "o"}, "min_tokens": 3, "max_tokens": 64, "stream": true},
		"cmpl_suffix":              {"suffix": "the end"},
		"cmpl_min_tokens":          {"min_tokens": 3},
		"cmpl_kv_params_null":      {"kv_transfer_params": nil},
		"bad_cmpl_best_of":         {"best_of": 2},
		"bad_cmpl_max_zero":        {"max_tokens": 0},
		"bad_cmpl_max_negative":    {"max_tokens": -3},
		"bad_cmpl_list_empty":      {"prompt": []string{}},
		"bad_cmpl_prompt_null":     {"prompt": nil},
		"bad_cmpl_prompt_number":   {"prompt": 5},
		"bad_cmpl_prompt_object":   {"prompt": body{"a": 1}},
		"bad_cmpl_token_unknown":   {"prompt": []int{99999999}},
		"bad_cmpl_token_negative":  {"prompt": []int{-1}},
		"bad_cmpl_logprobs_high":   {"logprobs": 100},
		"bad_cmpl_logprobs_minus":  {"logprobs": -1},
		"bad_cmpl_model":           {"model": "gpt-4"},
		"bad_cmpl_stream_options":  {"stream_options": body{"include_usage": true}},
		"bad_cmpl_kv_params_text":  {"kv_transfer_params": "x"},
		"bad_cmpl_n_greedy":        {"n": 2},
		"bad_cmpl_prompt_and_text": {"prompt": []any{"one", 2}},
		"bad_cmpl_echo_stream_plp": {"echo": true, "stream": true, "prompt_logprobs": 1},
	})
}
