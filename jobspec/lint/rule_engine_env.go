package lint

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// overridden are variables that the driver sets itself, whatever the job says,
// and where it takes them from.
func overridden(name string) string {
	switch name {
	case "VLLM_NIXL_SIDE_CHANNEL_HOST":
		return "the address of kv_transfer.side_channel_port"
	case "VLLM_NIXL_SIDE_CHANNEL_PORT":
		return "kv_transfer.side_channel_port"
	case "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER":
		return "the device block"
	}
	return ""
}

// isNowhere reports addresses that mean another thing on every machine.
func isNowhere(host string) bool {
	return slices.Contains([]string{"0.0.0.0", "::", "localhost", "127.0.0.1", "::1", ""}, host)
}

// checkEngineEnv finds variables that break the handoff or the placement.
func checkEngineEnv(j *job, r *reporter) {
	for _, s := range j.servers {
		env, _, _ := s.task.table("env")
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if text, known := env[name].text(); known {
				reportEnv(r, s, name, text, env[name])
			}
		}
		host := s.config.first(jobspec.KVTransferBlock).attr("side_channel_host")
		if text, known := host.text(); known && isNowhere(text) {
			r.errorf(host.at, "leave it out: the driver uses the address of the port", "side_channel_host %q: the other side would look for the KV on itself", text)
		}
	}
	checkHashSeed(j, r)
}

func reportEnv(r *reporter, s *server, name, text string, v value) {
	from := overridden(name)
	reserved, _, known := reservedGPUs(s.task)
	switch {
	case name == "VLLM_USE_V1" && text == "0":
		r.errorf(v.at, "leave it out", "VLLM_USE_V1 = 0 asks for the old engine, which has no KV connectors")
	case name == "VLLM_NIXL_ABORT_REQUEST_TIMEOUT":
		r.warnf(v.at, "leave it out, and set kv_transfer.lease if the lease of 30s is wrong", "vLLM no longer reads %s", name)
	case name == "VLLM_NIXL_SIDE_CHANNEL_HOST" && !s.ours && isNowhere(text):
		r.errorf(v.at, `write "${NOMAD_IP_nixl}", with the label of the side channel's port`, "%s = %q: the other side would look for the KV on itself", name, text)
	case name == "CUDA_VISIBLE_DEVICES" && s.ours && known && reserved == 0:
		r.errorf(v.at, "leave it out and add a device block", "%s takes GPUs that Nomad did not reserve and may give to others", name)
	case s.ours && from != "":
		r.warnf(v.at, "leave it out", "%s has no effect: the driver sets it from %s", name, from)
	}
}

// checkHashSeed finds servers that hash the same prompt differently and so
// never find one another's blocks.
func checkHashSeed(j *job, r *reporter) {
	const seed = "PYTHONHASHSEED"
	first, seen := "", false
	for _, s := range j.servers {
		env, at, _ := s.task.table("env")
		v := env[seed]
		text, known := v.text()
		switch {
		case v.set && !known, !v.set && !s.ours:
			continue
		case !v.set:
			text, v.at = jobspec.DefaultHashSeed, at
		}
		if !seen {
			first, seen = text, true
		} else if text != first {
			r.errorf(v.at, fmt.Sprintf("write the same for every server, or leave it to the driver, which sets %q", jobspec.DefaultHashSeed),
				"%s is %q here and %q in another group: they hash the same prompt differently", seed, text, first)
		}
	}
}
