package vllm

import "strings"

// both runs the two legs of a request.
func both(name, path string, more body) scenario {
	return scenario{name, func(s *session) { s.handoff(path, s.defaultBody(path, more), nil) }}
}

// altered runs the two legs with the parameters edited in between.
func altered(name, path string, more, edit body) scenario {
	return scenario{name, func(s *session) { s.handoff(path, s.defaultBody(path, more), edit) }}
}

const strangerEngine = "00000000-0000-4000-8000-000000000000"

// handoffScenarios are both legs, as a router that keeps the rules and one that does not would send them.
func handoffScenarios() []scenario {
	stranger, deadPort := body{"remote_engine_id": strangerEngine}, body{"remote_port": 9}
	usage := body{"include_usage": true}
	return append([]scenario{
		both("pd_chat", chatPath, nil),
		both("pd_chat_stream", chatPath, body{"stream": true}),
		both("pd_chat_stream_usage", chatPath, body{"stream": true, "stream_options": usage}),
		both("pd_chat_logprobs", chatPath, body{"logprobs": true, "top_logprobs": 2}),
		both("pd_chat_logprobs_stream", chatPath, body{"logprobs": true, "top_logprobs": 2, "stream": true}),
		both("pd_chat_prompt_logprobs", chatPath, body{"prompt_logprobs": 1}),
		both("pd_chat_token_ids", chatPath, body{"return_token_ids": true}),
		both("pd_chat_echo", chatPath, body{"echo": true}),
		both("pd_chat_json", chatPath, body{"response_format": body{"type": "json_object"}, "max_tokens": 1}),
		both("pd_chat_one_token", chatPath, body{"max_tokens": 1}),
		both("pd_chat_min_tokens", chatPath, body{"min_tokens": 5}),
		both("pd_chat_stop", chatPath, body{"stop": []string{"no such text"}}),
		both("pd_chat_seed", chatPath, body{"seed": 3, "temperature": 0.7}),
		both("pd_chat_cache_salt", chatPath, body{"cache_salt": "pepper"}),
		both("pd_chat_ignore_eos", chatPath, body{"ignore_eos": true}),
		both("pd_cmpl", completionPath, nil),
		both("pd_cmpl_stream", completionPath, body{"stream": true}),
		both("pd_cmpl_stream_usage", completionPath, body{"stream": true, "stream_options": usage}),
		both("pd_cmpl_logprobs", completionPath, body{"logprobs": 2}),
		both("pd_cmpl_list_of_one", completionPath, body{"prompt": []string{"one " + strings.Repeat("fish ", 40)}}),
		both("pd_cmpl_tokens", completionPath, body{"prompt": ramp(10, 80)}),

		altered("pd_wrong_engine", chatPath, nil, stranger),
		altered("pd_wrong_engine_stream", chatPath, body{"stream": true}, stranger),
		altered("pd_wrong_engine_stream_usage", chatPath, body{"stream": true, "stream_options": usage}, stranger),
		altered("pd_wrong_engine_cmpl", completionPath, nil, stranger),
		altered("pd_wrong_engine_cmpl_stream", completionPath, body{"stream": true}, stranger),
		altered("pd_wrong_engine_cmpl_stream_usage", completionPath, body{"stream": true, "stream_options": usage}, stranger),
		both("pd_chat_stream_interval", chatPath, body{"stream": true, "stream_interval": 3}),
		both("pd_chat_truncate", chatPath, body{"truncate_prompt_tokens": 20}),
		both("pd_cmpl_echo", completionPath, body{"echo": true}),
		both("pd_cmpl_echo_logprobs", completionPath, body{"echo": true, "logprobs": 1}),
		altered("pd_stranger_at_dead_port", chatPath, nil, body{"remote_engine_id": strangerEngine, "remote_port": 9}),
		altered("pd_dead_port", chatPath, nil, deadPort),
		altered("pd_dead_port_cmpl_stream", completionPath, body{"stream": true}, deadPort),
		altered("pd_no_tp_size", chatPath, nil, body{"tp_size": absent}),
		altered("pd_no_pp_size", chatPath, nil, body{"pp_size": absent, "dcp_size": absent}),
		altered("pd_no_transfer_mode", chatPath, nil, body{"transfer_mode": absent, "remote_num_tokens": absent, "remote_prefill_cached_tokens": absent}),
		altered("pd_extra_key", chatPath, nil, body{"no_such_key": 1}),
		altered("pd_other_request_id", chatPath, nil, body{"remote_request_id": "chatcmpl-another"}),
		altered("pd_port_as_text", chatPath, nil, body{"remote_port": "9"}),
	}, firstLegScenarios()...)
}

// firstLegScenarios are what a prefill makes of requests that only one answer's KV can be handed over for.
func firstLegScenarios() []scenario {
	leg := func(name, path string, more body) scenario {
		return scenario{name, func(s *session) { s.prefill(path, leg1(s.defaultBody(path, nil)).with(more)) }}
	}
	return []scenario{
		leg("leg1_chat_n2", chatPath, body{"n": 2, "temperature": 1}),
		leg("leg1_chat_stream", chatPath, body{"stream": true}),
		leg("leg1_chat_echo", chatPath, body{"echo": true}),
		leg("leg1_chat_logprobs", chatPath, body{"logprobs": true, "top_logprobs": 1}),
		leg("leg1_chat_prompt_logprobs", chatPath, body{"prompt_logprobs": 1}),
		leg("leg1_chat_five_tokens", chatPath, body{"max_tokens": 5}),
		leg("leg1_chat_max_completion", chatPath, body{"max_completion_tokens": 1}),
		leg("leg1_chat_max_completion_wins", chatPath, body{"max_completion_tokens": 4}),
		leg("leg1_chat_min_tokens", chatPath, body{"min_tokens": 5}),
		leg("leg1_chat_stream_options", chatPath, body{"stream_options": body{"include_usage": true}}),
		leg("leg1_chat_flags_only", chatPath, body{"kv_transfer_params": body{"do_remote_decode": true}}),
		leg("leg1_chat_empty_params", chatPath, body{"kv_transfer_params": body{}}),
		leg("leg1_chat_short", chatPath, body{"messages": []body{{"role": "user", "content": "hi"}}}),
		leg("leg1_chat_json", chatPath, body{"response_format": body{"type": "json_object"}}),
		leg("leg1_cmpl_list", completionPath, body{"prompt": []string{"one fish", "two fish"}}),
		leg("leg1_cmpl_token_lists", completionPath, body{"prompt": [][]int{{10, 11}, {12, 13}}}),
		leg("leg1_cmpl_echo", completionPath, body{"echo": true}),
		leg("leg1_cmpl_echo_only", completionPath, body{"echo": true, "max_tokens": 0}),
		leg("leg1_cmpl_n2", completionPath, body{"n": 2, "temperature": 1}),
		leg("leg1_cmpl_stream", completionPath, body{"stream": true}),
		leg("leg1_cmpl_logprobs", completionPath, body{"logprobs": 1}),
		leg("leg1_cmpl_tokens", completionPath, body{"prompt": ramp(10, 80)}),
		leg("leg1_cmpl_one_token_prompt", completionPath, body{"prompt": []int{10}}),
	}
}

func ramp(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}
