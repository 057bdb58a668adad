// Package vllm is what the engine reads and writes: the --kv-transfer-config
// value, the connector names that it knows, and the names of its metrics. Any
// room may use it; it knows nothing of Nomad, Consul or requests.
//
// It starts no goroutine and keeps no state.
package vllm
