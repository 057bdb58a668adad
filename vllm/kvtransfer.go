package vllm

import (
	"encoding/json"
	"fmt"
)

// KVRole is an engine's side of the KV transfer, vLLM's kv_role.
type KVRole string

const (
	// KVProducer hands KV over: a prefill.
	KVProducer KVRole = "kv_producer"
	// KVConsumer receives KV: a decode.
	KVConsumer KVRole = "kv_consumer"
	// KVBoth does either. vLLM deprecates it for the NIXL connectors.
	KVBoth KVRole = "kv_both"
)

// ParseKVRole reads a kv_role as vLLM spells it.
func ParseKVRole(s string) (KVRole, error) {
	switch r := KVRole(s); r {
	case KVProducer, KVConsumer, KVBoth:
		return r, nil
	}
	return "", fmt.Errorf("kv_role %q: want one of %q, %q, %q", s, KVProducer, KVConsumer, KVBoth)
}

// LoadFailurePolicy says what a decode does with a request whose KV did not
// arrive, vLLM's kv_load_failure_policy.
type LoadFailurePolicy string

const (
	// LoadFailureFail answers the request with an error; vLLM's default.
	LoadFailureFail LoadFailurePolicy = "fail"
	// LoadFailureRecompute computes the prompt on the decode instead.
	LoadFailureRecompute LoadFailurePolicy = "recompute"
)

// ParseLoadFailurePolicy reads a kv_load_failure_policy as vLLM spells it.
func ParseLoadFailurePolicy(s string) (LoadFailurePolicy, error) {
	switch p := LoadFailurePolicy(s); p {
	case LoadFailureFail, LoadFailureRecompute:
		return p, nil
	}
	return "", fmt.Errorf("kv_load_failure_policy %q: want %q or %q", s, LoadFailureFail, LoadFailureRecompute)
}

// KVTransferConfig is the value of --kv-transfer-config. Empty fields are left
// out, so that the engine's own defaults hold.
type KVTransferConfig struct {
	Connector         string            `json:"kv_connector"`
	Role              KVRole            `json:"kv_role"`
	ModulePath        string            `json:"kv_connector_module_path,omitempty"` // of a connector that vLLM does not register
	EngineID          string            `json:"engine_id,omitempty"`                // default: a fresh UUID at every start
	BufferDevice      string            `json:"kv_buffer_device,omitempty"`         // cuda, cpu, xpu; default: the platform's
	BufferSize        int64             `json:"kv_buffer_size,omitempty"`           // bytes; refused since 0.32
	LoadFailurePolicy LoadFailurePolicy `json:"kv_load_failure_policy,omitempty"`   // default fail
	// Extra is kv_connector_extra_config; its keys belong to the connector.
	Extra map[string]any `json:"kv_connector_extra_config,omitempty"`
}

// JSON is the value as one line. The same settings give the same bytes: the
// fields stand in the order of the struct, the keys of Extra are sorted.
func (c KVTransferConfig) JSON() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode --kv-transfer-config for %s: %w", c.Connector, err)
	}
	return string(b), nil
}
