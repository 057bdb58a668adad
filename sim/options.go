package sim

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim/fault"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
	"github.com/nomad-vllm/nomad-vllm/sim/serve"
)

// Options is how a test starts an instance in its own process.
type Options struct {
	// Model is the positional argument of `vllm serve`, "sim-model" if empty.
	Model string
	// Role adds the NIXL connector with vLLM's role for it; empty adds none.
	Role pd.Role
	// Args are further flags of `vllm serve`.
	Args []string
	// Faults is a script, see package fault. Instance.SetFaults changes it.
	Faults string
	// Profile is the latency model; nil is the fast one with no load time.
	Profile *profile.Profile
	// Admin opens /sim/faults and /sim/state.
	Admin bool
	// RuntimeLoRA opens /v1/load_lora_adapter and /v1/unload_lora_adapter, as
	// VLLM_ALLOW_RUNTIME_LORA_UPDATING does.
	RuntimeLoRA bool
	// Version is the vLLM version; empty is DefaultVersion. With 0.26.x a
	// streamed completion whose KV load failed ends without an error, and a
	// drain stops listening at once.
	Version string
	// Log takes the log lines; nil drops them.
	Log io.Writer
}

// settings is everything that an instance is started from.
type settings struct {
	serve     *serve.Config
	profile   profile.Profile
	script    *fault.Script
	sideHost  string
	sidePort  int
	wireBytes int
	version   string
	admin     bool
	dev       bool
	// loadAtWill: adapters can be loaded and unloaded by whoever asks.
	loadAtWill bool
	log        io.Writer
}

var roles = map[pd.Role]string{pd.RolePrefill: "kv_producer", pd.RoleDecode: "kv_consumer", pd.RoleBoth: "kv_both"}

// settings turns options into what the command line and environment would be.
func (o Options) settings() (*settings, error) {
	if o.Model == "" {
		o.Model = "sim-model"
	}
	args := []string{o.Model, "--host", "127.0.0.1", "--port", "0"}
	if o.Role != "" {
		args = append(args, "--kv-transfer-config", fmt.Sprintf(`{"kv_connector":"NixlConnector","kv_role":%q}`, roles[o.Role]))
	}
	st, _, err := read(append(args, o.Args...), func(name string) string {
		switch name {
		case "VLLM_NIXL_SIDE_CHANNEL_HOST":
			return "127.0.0.1"
		case "VLLM_NIXL_SIDE_CHANNEL_PORT":
			return "0"
		case "VLLM_SIM_FAULTS":
			return o.Faults
		case "VLLM_SIM_VERSION":
			return o.Version
		case "VLLM_ALLOW_RUNTIME_LORA_UPDATING":
			return strconv.FormatBool(o.RuntimeLoRA)
		case "VLLM_SIM_LOAD":
			if o.Profile == nil {
				return "0s"
			}
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	if o.Profile != nil {
		st.profile = *o.Profile
	}
	st.admin, st.log = o.Admin, o.Log
	if st.log == nil {
		st.log = io.Discard
	}
	return st, nil
}

// read reads a command line and environment; warnings are about unknown flags.
func read(args []string, getenv func(string) string) (*settings, []string, error) {
	cfg, warnings, err := serve.Parse(args, getenv)
	if err != nil {
		return nil, nil, err
	}
	st := &settings{serve: cfg, sideHost: "localhost", sidePort: 5600, wireBytes: 64, version: version(getenv), log: os.Stdout}
	if st.profile, err = profile.ByName(getenv("VLLM_SIM_PROFILE")); err != nil {
		return nil, nil, fmt.Errorf("VLLM_SIM_PROFILE: %w", err)
	}
	if st.script, err = fault.Parse(getenv("VLLM_SIM_FAULTS")); err != nil {
		return nil, nil, fmt.Errorf("VLLM_SIM_FAULTS: %w", err)
	}
	if v := getenv("VLLM_SIM_LOAD"); v != "" {
		if st.profile.Load, err = time.ParseDuration(v); err != nil {
			return nil, nil, fmt.Errorf("VLLM_SIM_LOAD: %w", err)
		}
	}
	if v := getenv("VLLM_SIM_SCALE"); v != "" {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || f <= 0 {
			return nil, nil, fmt.Errorf("VLLM_SIM_SCALE = %q: want a number above 0", v)
		}
		st.profile = st.profile.Scale(f)
	}
	if v := getenv("VLLM_NIXL_SIDE_CHANNEL_HOST"); v != "" {
		st.sideHost = v
	}
	for name, into := range map[string]*int{"VLLM_NIXL_SIDE_CHANNEL_PORT": &st.sidePort, "VLLM_SIM_KV_WIRE_BYTES": &st.wireBytes} {
		v := getenv(name)
		if v == "" {
			continue
		}
		if *into, err = strconv.Atoi(v); err != nil || *into < 0 {
			return nil, nil, fmt.Errorf("%s = %q: want a whole number", name, v)
		}
	}
	if st.sidePort != 0 {
		st.sidePort += cfg.DPRank
	}
	st.admin = getenv("VLLM_SIM_ADMIN") == "1"
	st.dev = getenv("VLLM_SERVER_DEV_MODE") == "1"
	st.loadAtWill = slices.Contains([]string{"1", "true"}, strings.ToLower(strings.TrimSpace(getenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING"))))
	return st, warnings, st.size()
}

// size settles the KV cache and the limits that depend on the profile.
func (st *settings) size() error {
	c, p := st.serve, st.profile
	orDefault := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orDefault(&c.MaxModelLen, p.MaxModelLen)
	orDefault(&c.MaxNumSeqs, p.MaxNumSeqs)
	orDefault(&c.MaxBatchedTokens, p.MaxBatchedTokens)
	if c.NumBlocks == 0 {
		perBlock := int64(c.BlockSize * p.KVBytesPerToken)
		if c.KVCacheBytes == 0 {
			share := c.MemoryShare / 0.9
			c.KVCacheBytes = int64(float64(p.KVTokens) * share * float64(p.KVBytesPerToken))
		}
		c.NumBlocks = int(c.KVCacheBytes / perBlock)
	}
	if room := c.NumBlocks * c.BlockSize; room < c.MaxModelLen {
		return fmt.Errorf("the model's max seq len (%d) is larger than the maximum number of tokens that can be stored in KV cache (%d); "+
			"raise --kv-cache-memory-bytes or --gpu-memory-utilization, or lower --max-model-len", c.MaxModelLen, room)
	}
	return nil
}

// DefaultVersion is the vLLM version whose behaviour is simulated.
const DefaultVersion = "0.32.0"

// version is the one that the environment asks for, or the default.
func version(getenv func(string) string) string {
	if v := getenv("VLLM_SIM_VERSION"); v != "" {
		return v
	}
	return DefaultVersion
}

// before027 reports whether vLLM 0.26 is simulated, the other version that was
// measured.
func (st *settings) before027() bool { return strings.HasPrefix(st.version, "0.26.") }
