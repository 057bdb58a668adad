package jobspec

import "github.com/nomad-vllm/nomad-vllm/vllm"

// What follows repeats the task driver's own schema, because job files are
// checked without linking the driver; a test in the module's root compares the
// two.

const (
	// DriverName is the task driver that starts vLLM servers.
	DriverName = "vllm"
	// GPUDevice is the device request name of NVIDIA's device plugin.
	GPUDevice = "nvidia/gpu"
	// DefaultPort is the port label of a config block that names none.
	DefaultPort = "http"
	// DefaultRole is the role of a config block that names none.
	DefaultRole = "both"
	// DefaultHashSeed is the PYTHONHASHSEED of a task that sets none.
	DefaultHashSeed = "0"
	// KVTransferBlock is the block inside config that describes the KV handoff.
	KVTransferBlock = "kv_transfer"
)

// ConfigKeys are the keys of a vllm task's config block.
func ConfigKeys() []string {
	return []string{"model", "role", "port", "runtime", "command", "args", "allow_known_bad", "kill_timeout",
		"tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
		"unlimited_memory", "cpu_hard_limit", "oom_score_adj", "ulimit", KVTransferBlock}
}

// KVTransferKeys are the keys of the kv_transfer block.
func KVTransferKeys() []string {
	return []string{"connector", "kv_role", "engine_id", "kv_buffer_device", "kv_buffer_size", "kv_load_failure_policy",
		"side_channel_port", "side_channel_host", "lease", "backends", "module_path",
		"lmcache", "lmcache_mp", "mooncake", "mooncake_store", "offloading", "part", "extra"}
}

// DriverConnectors are the KV connectors whose handoff the router speaks and a
// rendered job can have; a task's own kv_transfer block can have any.
func DriverConnectors() []string { return []string{vllm.NixlConnector, vllm.NixlPullConnector} }
