package driver

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// Config is the plugin's own config, one per node:
//
//	plugin "nomad-driver-vllm" {
//	  config { command = "vllm" }
//	}
type Config struct {
	// Command is the engine that tasks run unless they name another, the
	// runtime "default". Looked up on the PATH of the task and of the agent.
	// Default "vllm"; none where there are runtime blocks.
	Command string `codec:"command"`
	// Python is the interpreter whose packages that engine runs, where the
	// command is a wrapper. Default: what the command's first line names.
	Python string `codec:"python"`
	// Runtimes are further engines by name. Default: none.
	Runtimes map[string]Runtime `codec:"runtime"`
	// GPUProcDir is where the NVIDIA kernel driver describes its GPUs, one
	// directory each. Default /proc/driver/nvidia/gpus.
	GPUProcDir string `codec:"gpu_proc_dir"`
	// StateDir holds a directory per task with its supervisor's socket and
	// its exit record. Empty (the default): inside each allocation's
	// directory, beside the tasks' own and out of their reach.
	StateDir string `codec:"state_dir"`
	// LMCacheVersion is the LMCache of this node's engine, for tasks whose
	// lmcache block does not say. Default: not known.
	LMCacheVersion string `codec:"lmcache_version"`
	// AllowCommands are the executables that tasks may run: absolute paths, in
	// which "*" stands for a part of a name, looked at after all links. Empty
	// (the default): any.
	AllowCommands []string `codec:"allow_commands"`
	// DenyArgs are flags of vLLM that no task may be started with, in any
	// spelling. Default: none.
	DenyArgs []string `codec:"deny_args"`
	// DenyEnv are variables that no task's env may set, "PYTHON*" for example.
	// Default: none.
	DenyEnv []string `codec:"deny_env"`
	// DenyUnlimitedMemory refuses tasks with unlimited_memory, or memory_max of
	// -1: each of them can take its neighbours' memory. Default false.
	DenyUnlimitedMemory bool `codec:"deny_unlimited_memory"`
	// Ulimit are resource limits of tasks that do not set their own, UlimitMax
	// the most that a task may have. Default: the driver's own, no ceiling.
	Ulimit    map[string]string `codec:"ulimit"`
	UlimitMax map[string]string `codec:"ulimit_max"`
	// Telemetry says where the driver's own numbers go. Default: nowhere but
	// memory, for SIGUSR1.
	Telemetry *telemetry.Settings `codec:"telemetry"`
}

func defaultConfig() Config {
	return Config{Command: "vllm", GPUProcDir: "/proc/driver/nvidia/gpus"}
}

// complete fills in what follows from the rest. A node with runtime blocks has
// no engine of another kind unless it is told so: it would be missing, and the
// driver unhealthy.
func (c *Config) complete() {
	if len(c.Runtimes) == 0 {
		c.Runtimes = nil
	}
	if c.Command == "" && len(c.Runtimes) == 0 {
		c.Command = defaultConfig().Command
	}
}

func configSpec() *hclspec.Spec {
	def := defaultConfig()
	return hclspec.NewObject(map[string]*hclspec.Spec{
		"command":      optional("command", "string"),
		"python":       optional("python", "string"),
		"runtime":      hclspec.NewBlockMap("runtime", []string{"name"}, runtimeSpec()),
		"gpu_proc_dir": stringDefault("gpu_proc_dir", def.GPUProcDir),
		"state_dir":    hclspec.NewAttr("state_dir", "string", false),

		"lmcache_version":       optional("lmcache_version", "string"),
		"allow_commands":        optional("allow_commands", "list(string)"),
		"deny_args":             optional("deny_args", "list(string)"),
		"deny_env":              optional("deny_env", "list(string)"),
		"deny_unlimited_memory": optional("deny_unlimited_memory", "bool"),
		"ulimit":                hclspec.NewBlockAttrs("ulimit", "string", false),
		"ulimit_max":            hclspec.NewBlockAttrs("ulimit_max", "string", false),
		"telemetry": hclspec.NewBlock("telemetry", false, object(map[string]string{
			"statsd_address": "string", "statsite_address": "string", "prometheus_listen": "string",
		}, nil)),
	})
}

// validate checks what can be wrong in itself. What is only missing on this
// node (the command, the GPUs) is for Fingerprint to report: an error here
// keeps the whole Nomad agent from starting.
func (c Config) validate() error {
	errs := []error{c.checkRuntimes()}
	for name, path := range map[string]string{"gpu_proc_dir": c.GPUProcDir, "state_dir": c.StateDir, "python": c.Python} {
		if path != "" && !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s = %q: want an absolute path", name, path))
		}
	}
	if c.LMCacheVersion != "" {
		if _, err := vllm.ParseLMCacheVersion(c.LMCacheVersion); err != nil {
			errs = append(errs, fmt.Errorf("lmcache_version = %w", err))
		}
	}
	_, err := ulimits(c.Ulimit, c.UlimitMax, nil, false)
	if c.Telemetry != nil {
		err = errors.Join(err, c.Telemetry.Validate())
	}
	return errors.Join(append(errs, err, c.validatePolicy())...)
}

// TaskConfig is a task's config block.
type TaskConfig struct {
	// Model is a Hugging Face name or a path, as vLLM takes it. Required.
	Model string `codec:"model"`
	// Role is prefill, decode or both. Default both.
	Role string `codec:"role"`
	// Port labels the port of the HTTP API. Default "http".
	Port string `codec:"port"`
	// Runtime names one of the node's runtimes. Default: the plugin's command.
	Runtime string `codec:"runtime"`
	// Command runs instead of any of the node's own.
	Command string `codec:"command"`
	// Args are passed on after the driver's own.
	Args []string `codec:"args"`
	// AllowKnownBad are rows of the known-bad table (docs/known-bad.md) that do
	// not keep the task from starting. Default: none.
	AllowKnownBad []string `codec:"allow_known_bad"`
	// KillTimeout repeats the task's own kill_timeout, which Nomad tells a
	// driver only when it stops the task, while vLLM must know at its start how
	// long it may drain. "" (the default): vLLM drops what it is writing.
	KillTimeout string `codec:"kill_timeout"`
	// TensorParallelSize, PipelineParallelSize and DataParallelSize multiply
	// to the number of GPUs that the task must have reserved. 0: the engine's
	// default of 1.
	TensorParallelSize   int `codec:"tensor_parallel_size"`
	PipelineParallelSize int `codec:"pipeline_parallel_size"`
	DataParallelSize     int `codec:"data_parallel_size"`
	// UnlimitedMemory runs the engine without its memory limit, on a node whose
	// memory is all its own. CPUHardLimit keeps it from CPU that nobody wants.
	UnlimitedMemory bool `codec:"unlimited_memory"`
	CPUHardLimit    bool `codec:"cpu_hard_limit"`
	// OOMScoreAdj makes the kernel pick the engine the sooner, 0 (the default)
	// to 1000, when the whole node runs out of memory.
	OOMScoreAdj int `codec:"oom_score_adj"`
	// Ulimit are the engine's resource limits, "65536" or "1024:65536".
	Ulimit map[string]string `codec:"ulimit"`
	// KVTransfer is how KV moves between prefill and decode. nil: not at all.
	KVTransfer *KVTransfer `codec:"kv_transfer"`
}

// KVTransfer is the kv_transfer block. Fields that are not set are not passed
// on: the engine's defaults hold.
type KVTransfer struct {
	// Connector is the name of the KV connector in vLLM. Required.
	Connector string `codec:"connector"`
	// KVRole overrides what follows from the task's role: prefill is
	// kv_producer, decode kv_consumer, both kv_both.
	KVRole string `codec:"kv_role"`
	// EngineID names this engine to its peers. Default: fresh at every start.
	// Two live engines of the same name break each other's handoffs.
	EngineID string `codec:"engine_id"`
	// KVBufferDevice is where KV is staged: cuda, cpu, xpu.
	KVBufferDevice string `codec:"kv_buffer_device"`
	// KVBufferSize is the size of that stage, "1GiB", for a connector of your
	// own. Left out, with a task event, for those that vLLM registers.
	KVBufferSize string `codec:"kv_buffer_size"`
	// KVLoadFailurePolicy is fail (vLLM's default) or recompute.
	KVLoadFailurePolicy string `codec:"kv_load_failure_policy"`
	// SideChannelPort labels the port on which peers fetch metadata. Required for NIXL.
	SideChannelPort string `codec:"side_channel_port"`
	// SideChannelHost is the address that peers are told. Default: the address
	// of the side-channel port.
	SideChannelHost string `codec:"side_channel_host"`
	// Lease is how long a prefill keeps blocks that nobody fetches. Default 30s.
	Lease string `codec:"lease"`
	// Backends are NIXL's transports. Default UCX.
	Backends []string `codec:"backends"`
	// ModulePath is the Python module of a connector that vLLM does not register.
	ModulePath string `codec:"module_path"`
	// One block for each connector with settings of its own; MooncakeStore is
	// also the store under LMCache.
	LMCache       *LMCache       `codec:"lmcache"`
	LMCacheMP     *LMCacheMP     `codec:"lmcache_mp"`
	Mooncake      *Mooncake      `codec:"mooncake"`
	MooncakeStore *MooncakeStore `codec:"mooncake_store"`
	Offloading    *Offloading    `codec:"offloading"`
	// Parts are MultiConnector's connectors, in order; the first that has a
	// prompt's KV loads it, all save it.
	Parts []KVTransfer `codec:"part"`
	// Extra is merged into kv_connector_extra_config. A value that is JSON (a
	// number, true, a list, ...) is passed as that, any other as a string.
	Extra map[string]string `codec:"extra"`
}

const defaultPortLabel = "http"

func taskConfigSpec() *hclspec.Spec {
	return hclspec.NewObject(map[string]*hclspec.Spec{
		// model is not marked required here, so that its absence is reported
		// together with everything else that is wrong.
		"model":                  optional("model", "string"),
		"role":                   stringDefault("role", "both"),
		"port":                   stringDefault("port", defaultPortLabel),
		"runtime":                optional("runtime", "string"),
		"command":                optional("command", "string"),
		"args":                   optional("args", "list(string)"),
		"allow_known_bad":        optional("allow_known_bad", "list(string)"),
		"kill_timeout":           optional("kill_timeout", "string"),
		"tensor_parallel_size":   optional("tensor_parallel_size", "number"),
		"pipeline_parallel_size": optional("pipeline_parallel_size", "number"),
		"data_parallel_size":     optional("data_parallel_size", "number"),
		"unlimited_memory":       optional("unlimited_memory", "bool"),
		"cpu_hard_limit":         optional("cpu_hard_limit", "bool"),
		"oom_score_adj":          optional("oom_score_adj", "number"),
		"ulimit":                 hclspec.NewBlockAttrs("ulimit", "string", false),
		"kv_transfer":            hclspec.NewBlock("kv_transfer", false, kvTransferSpec()),
	})
}

func kvTransferSpec() *hclspec.Spec {
	attrs := kvPartSpec()
	attrs["part"] = hclspec.NewBlockList("part", hclspec.NewObject(kvPartSpec()))
	return hclspec.NewObject(attrs)
}

// kvPartSpec is a kv_transfer block without parts, which have none themselves.
func kvPartSpec() map[string]*hclspec.Spec {
	return map[string]*hclspec.Spec{
		"connector":              optional("connector", "string"),
		"kv_role":                optional("kv_role", "string"),
		"engine_id":              optional("engine_id", "string"),
		"kv_buffer_device":       optional("kv_buffer_device", "string"),
		"kv_buffer_size":         optional("kv_buffer_size", "string"),
		"kv_load_failure_policy": optional("kv_load_failure_policy", "string"),
		"module_path":            optional("module_path", "string"),
		"side_channel_port":      optional("side_channel_port", "string"),
		"side_channel_host":      optional("side_channel_host", "string"),
		"lease":                  optional("lease", "string"),
		"backends":               optional("backends", "list(string)"),
		"lmcache":                hclspec.NewBlock("lmcache", false, lmcacheSpec()),
		"lmcache_mp":             hclspec.NewBlock("lmcache_mp", false, lmcacheMPSpec()),
		"mooncake":               hclspec.NewBlock("mooncake", false, mooncakeSpec()),
		"mooncake_store":         hclspec.NewBlock("mooncake_store", false, mooncakeStoreSpec()),
		"offloading":             hclspec.NewBlock("offloading", false, offloadingSpec()),
		"extra":                  hclspec.NewBlockAttrs("extra", "string", false),
	}
}

// object is a block's spec: the type of each attribute by its name, where
// "map" is a nested block of free keys with strings.
func object(kinds map[string]string, blocks map[string]*hclspec.Spec) *hclspec.Spec {
	specs := map[string]*hclspec.Spec{}
	for name, kind := range kinds {
		if specs[name] = optional(name, kind); kind == "map" {
			specs[name] = hclspec.NewBlockAttrs(name, "string", false)
		}
	}
	for name, spec := range blocks {
		specs[name] = hclspec.NewBlock(name, false, spec)
	}
	return hclspec.NewObject(specs)
}

func optional(name, kind string) *hclspec.Spec { return hclspec.NewAttr(name, kind, false) }

func stringDefault(name, def string) *hclspec.Spec {
	return hclspec.NewDefault(optional(name, "string"), hclspec.NewLiteral(fmt.Sprintf("%q", def)))
}
