package lint

import (
	"fmt"
	"maps"
	"slices"
)

// envMistakes are variables that no server of ours should have, by value.
var envMistakes = [...]struct {
	name  string
	bad   func(value string) bool
	why   string
	mend  string
	level Severity
}{
	{"VLLM_NIXL_SIDE_CHANNEL_HOST", isNowhere, "the other side would be told to fetch the KV from there", "leave it out: the driver sets the server's own address", Error},
	{"VLLM_NIXL_SIDE_CHANNEL_HOST", any1, "it overrides the address that the driver knows", "leave it out", Warning},
	{"VLLM_NIXL_SIDE_CHANNEL_PORT", any1, "it overrides the port that Nomad reserved and Consul publishes", "leave it out and set kv_transfer.side_channel_port", Error},
	{"VLLM_USE_V1", func(v string) bool { return v == "0" }, "the old engine has no KV connectors", "leave it out", Error},
	{"CUDA_VISIBLE_DEVICES", any1, "it overrides the GPUs that Nomad reserved", "leave it out: the driver sets it from the device block", Error},
	{"NVIDIA_VISIBLE_DEVICES", any1, "Nomad sets it from the device block", "leave it out", Error},
	{"VLLM_NIXL_ABORT_REQUEST_TIMEOUT", any1, "vLLM no longer reads it: since May 2026 a lease in kv_connector_extra_config took its place", "leave it out", Warning},
}

func any1(string) bool { return true }

// isNowhere reports addresses that mean another thing on every machine.
func isNowhere(host string) bool {
	return slices.Contains([]string{"0.0.0.0", "::", "localhost", "127.0.0.1", "::1", ""}, host)
}

// checkEngineEnv finds variables that break the handoff or the placement, and
// hash seeds that differ between servers which share KV by hash.
func checkEngineEnv(j *job, r *reporter) {
	const seed = "PYTHONHASHSEED"
	var first string
	var seen bool
	for _, s := range j.servers {
		env, _, _ := s.task.table("env")
		for _, name := range slices.Sorted(maps.Keys(env)) {
			reportEnv(r, s, name, env[name])
		}
		v := env[seed]
		text, known := v.text()
		switch {
		case !known:
		case !seen:
			first, seen = text, true
		case text != first:
			r.errorf(v.at, fmt.Sprintf("write the same for every server, %s = %q", seed, first),
				"%s is %q here and %q in another group: they hash the same prompt differently", seed, text, first)
		}
	}
}

func reportEnv(r *reporter, s *server, name string, v value) {
	text, known := v.text()
	if !s.ours || !known {
		return
	}
	for _, m := range envMistakes {
		if m.name == name && m.bad(text) {
			r.add(m.level, v.at, m.mend, fmt.Sprintf("env %s = %q: %s", name, text, m.why))
			return
		}
	}
}
