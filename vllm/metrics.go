package vllm

// Metric names as vLLM exposes them on /metrics. Every one carries the labels
// model_name and engine (the data-parallel rank), so that an instance's value
// is the sum over its series. Prometheus adds _bucket, _sum and _count to the
// histograms.
const (
	// MetricRequestsWaiting (gauge) counts requests that wait in the engine's
	// queue: for capacity, or deferred (for remote KV, among others).
	MetricRequestsWaiting = "vllm:num_requests_waiting"
	// MetricRequestsWaitingByReason (gauge, since April 2026) splits the one
	// above by the label LabelReason.
	MetricRequestsWaitingByReason = "vllm:num_requests_waiting_by_reason"
	// MetricRequestsRunning (gauge) counts requests in the running batch.
	MetricRequestsRunning = "vllm:num_requests_running"
	// MetricKVCacheUsage (gauge) is the used part of the KV cache, 0 to 1.
	MetricKVCacheUsage = "vllm:kv_cache_usage_perc"
	// MetricCacheConfigInfo (gauge, always 1) carries block_size and
	// num_gpu_blocks as labels.
	MetricCacheConfigInfo = "vllm:cache_config_info"

	// MetricPreemptions (counter) counts requests that lost their KV blocks
	// to others and were computed again.
	MetricPreemptions = "vllm:num_preemptions_total"
	// MetricPromptTokens (counter) counts prompt tokens processed.
	MetricPromptTokens = "vllm:prompt_tokens_total"
	// MetricPromptTokensBySource (counter) splits prompt tokens by the label
	// LabelSource: this is where a handoff that moved KV shows.
	MetricPromptTokensBySource = "vllm:prompt_tokens_by_source_total"
	// MetricGenerationTokens (counter) counts tokens generated.
	MetricGenerationTokens = "vllm:generation_tokens_total"
	// MetricRequestSuccess (counter) counts finished requests by the label
	// LabelFinishedReason.
	MetricRequestSuccess = "vllm:request_success_total"

	// MetricTimeToFirstToken (histogram, seconds).
	MetricTimeToFirstToken = "vllm:time_to_first_token_seconds"
	// MetricInterTokenLatency (histogram, seconds).
	MetricInterTokenLatency = "vllm:inter_token_latency_seconds"
	// MetricE2ERequestLatency (histogram, seconds).
	MetricE2ERequestLatency = "vllm:e2e_request_latency_seconds"
	// MetricRequestQueueTime (histogram, seconds) is the time from arrival to
	// first being scheduled.
	MetricRequestQueueTime = "vllm:request_queue_time_seconds"
	// MetricRequestPrefillTime (histogram, seconds).
	MetricRequestPrefillTime = "vllm:request_prefill_time_seconds"
	// MetricRequestDecodeTime (histogram, seconds).
	MetricRequestDecodeTime = "vllm:request_decode_time_seconds"

	// MetricNixlXferTime (histogram, seconds) is the time of one KV transfer,
	// observed by the side that fetches: the decode.
	MetricNixlXferTime = "vllm:nixl_xfer_time_seconds"
	// MetricNixlPostTime (histogram, seconds) is the time to post a transfer.
	MetricNixlPostTime = "vllm:nixl_post_time_seconds"
	// MetricNixlBytesTransferred (histogram, bytes per transfer).
	MetricNixlBytesTransferred = "vllm:nixl_bytes_transferred"
	// MetricNixlFailedTransfers (counter).
	MetricNixlFailedTransfers = "vllm:nixl_num_failed_transfers_total"
	// MetricNixlFailedNotifications (counter).
	MetricNixlFailedNotifications = "vllm:nixl_num_failed_notifications_total"
	// MetricNixlKVExpired (counter, on the prefill) counts handoffs that no
	// decode fetched within the lease.
	MetricNixlKVExpired = "vllm:nixl_num_kv_expired_reqs_total"
)

// Label names and the values that matter to us.
const (
	LabelModelName      = "model_name"
	LabelEngine         = "engine"
	LabelReason         = "reason"
	LabelSource         = "source"
	LabelFinishedReason = "finished_reason"

	// ReasonCapacity: the request waits for KV blocks or a batch slot.
	ReasonCapacity = "capacity"
	// ReasonDeferred: the request waits for something else, remote KV included.
	ReasonDeferred = "deferred"

	// SourceLocalCompute, SourceLocalCacheHit and SourceExternalKV are the
	// values of LabelSource.
	SourceLocalCompute  = "local_compute"
	SourceLocalCacheHit = "local_cache_hit"
	SourceExternalKV    = "external_kv_transfer"
)
