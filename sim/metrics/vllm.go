package metrics

func (e *Engine) declareTransfer(r *Registry) {
	e.XferTime = e.hist(r, "nixl_xfer_time_seconds", "Time of a KV transfer.",
		[]float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5})
	e.PostTime = e.hist(r, "nixl_post_time_seconds", "Time to post a KV transfer.",
		[]float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5})
	e.Bytes = e.hist(r, "nixl_bytes_transferred", "Bytes of a KV transfer, of the model's KV cache.", powers(2048, 4, 12))
	e.Descriptors = e.hist(r, "nixl_num_descriptors", "Descriptors of a KV transfer.",
		[]float64{10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000})
	e.FailedTransfers = e.counter(r, "nixl_num_failed_transfers", "KV transfers that failed, handshakes included.")
	e.FailedNotifications = e.counter(r, "nixl_num_failed_notifications", "Notifications to a prefill that failed.")
	e.Expired = e.counter(r, "nixl_num_kv_expired_reqs", "Requests of this prefill whose KV lease expired.")
	e.AfterExpiry = e.counter(r, "nixl_num_notifications_after_expiry", "Notifications about requests that hold no KV here.")
}

func (e *Engine) declareScheduler(r *Registry, s Shape) {
	e.Running = e.gauge(r, "num_requests_running", "Requests in the running batch.")
	e.Waiting = e.gauge(r, "num_requests_waiting", "Requests that wait, for capacity or for KV.")
	e.WaitingByReason = e.labelled(r, "num_requests_waiting_by_reason", "Requests that wait, by reason.", gauge, "reason", "capacity", "deferred")
	if s.Connector && s.Fetches {
		e.FetchByStage = e.labelled(r, "num_requests_kv_fetch_by_stage", "Requests that fetch KV, by stage.", gauge,
			"stage", "waiting_to_start", "in_progress", "completed_waiting")
	}
	sleep := e.labelled(r, "engine_sleep_state", "Whether the engine sleeps.", gauge, "sleep_state", "awake", "weights_offloaded", "discard_all")
	e.Set(sleep, 1, "sleep_state", "awake")
	e.KVUsage = e.gauge(r, "kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1.")
}

func (e *Engine) declareTokens(r *Registry) {
	e.PrefixQueries = e.counter(r, "prefix_cache_queries", "Tokens looked up in the prefix cache.")
	e.PrefixHits = e.counter(r, "prefix_cache_hits", "Tokens found in the prefix cache.")
	e.ExternalQueries = e.counter(r, "external_prefix_cache_queries", "Tokens looked up through the KV connector.")
	e.ExternalHits = e.counter(r, "external_prefix_cache_hits", "Tokens found through the KV connector.")
	e.counter(r, "mm_cache_queries", "Multi-modal items looked up.")
	e.counter(r, "mm_cache_hits", "Multi-modal items found.")
	e.Preemptions = e.counter(r, "num_preemptions", "Preemptions.")
	e.PromptTokens = e.counter(r, "prompt_tokens", "Prompt tokens processed.")
	e.BySource = e.labelled(r, "prompt_tokens_by_source", "Prompt tokens by where their KV came from.", counter,
		"source", "local_compute", "local_cache_hit", "external_kv_transfer")
	e.Cached = e.counter(r, "prompt_tokens_cached", "Prompt tokens whose KV was not computed here.")
	e.CachedBySource = e.labelled(r, "prompt_tokens_cached_by_source", "Cached prompt tokens by tier.", counter,
		"source", "device", "host", "p2p", "disk", "external_unspecified")
	e.GenerationTokens = e.counter(r, "generation_tokens", "Tokens generated.")
}

func (e *Engine) declareRequests(r *Registry, s Shape) {
	e.Success = e.labelled(r, "request_success", "Requests that ended, by reason.", counter,
		"finished_reason", "stop", "length", "abort", "error", "repetition")
	rejections := r.family("vllm:admission_rejections", "Requests refused by a queue limit.", counter, nil)
	for _, reason := range []string{"max_num_queued_reqs", "max_num_queued_tokens"} {
		rejections.Add(0, "model_name", s.Model, "reason", reason)
	}
	lengths := oneTwoFive(s.MaxModelLen)
	e.ReqPrompt = e.hist(r, "request_prompt_tokens", "Prompt tokens of a request.", lengths)
	e.ReqGeneration = e.hist(r, "request_generation_tokens", "Generated tokens of a request.", lengths)
	e.Iteration = e.hist(r, "iteration_tokens_total", "Tokens of an engine step.",
		append([]float64{1}, powers(8, 2, 12)...))
	e.ReqMaxGeneration = e.hist(r, "request_max_num_generation_tokens", "Longest choice of a request.", lengths)
	e.ParamsN = e.hist(r, "request_params_n", "The n parameter of a request.", []float64{1, 2, 5, 10, 20})
	e.ParamsMax = e.hist(r, "request_params_max_tokens", "The max_tokens parameter of a request.", lengths)
}

func (e *Engine) declareLatency(r *Registry, lengths []float64) {
	e.TTFT = e.hist(r, "time_to_first_token_seconds", "Time to first token.", []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
		0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560})
	token := []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	e.ITL = e.hist(r, "inter_token_latency_seconds", "Time between two tokens.", token)
	e.TPOT = e.hist(r, "request_time_per_output_token_seconds", "Mean time between tokens of a request.", token)
	whole := []float64{0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
	e.E2E = e.hist(r, "e2e_request_latency_seconds", "Time of a whole request.", whole)
	e.QueueTime = e.hist(r, "request_queue_time_seconds", "Time a request waited.", whole)
	e.InferenceTime = e.hist(r, "request_inference_time_seconds", "Time a request ran.", whole)
	e.PrefillTime = e.hist(r, "request_prefill_time_seconds", "Time of a request's prefill.", whole)
	e.DecodeTime = e.hist(r, "request_decode_time_seconds", "Time of a request's decode.", whole)
	e.ReqPreemptions = e.hist(r, "request_num_preemptions", "Preemptions of a request.", []float64{1, 2, 3, 4, 5, 10, 20})
	e.PrefillComputed = e.hist(r, "request_prefill_kv_computed_tokens", "Prompt tokens computed here.", lengths)
}

// powers is n bucket bounds from first, each factor times the one before.
func powers(first, factor float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = first
		first *= factor
	}
	return out
}

// oneTwoFive is 1, 2, 5, 10, ... up to a limit.
func oneTwoFive(limit int) []float64 {
	var out []float64
	for base := 1; ; base *= 10 {
		for _, m := range []int{1, 2, 5} {
			if base*m > limit {
				return out
			}
			out = append(out, float64(base*m))
		}
	}
}
