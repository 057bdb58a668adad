package lint

import (
	"strings"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// checkConnector finds connector names that vLLM would refuse at its start.
func checkConnector(j *job, r *reporter) {
	for _, s := range j.servers {
		kv := s.config.first(jobspec.KVTransferBlock)
		v := kv.attr("connector")
		name, known := v.text()
		if !s.ours || !known {
			continue
		}
		switch {
		case !vllm.KnownConnector(name) && kv.attr("module_path").set: // the job's own connector
		case !vllm.KnownConnector(name):
			r.errorf(v.at, "write "+strings.Join(jobspec.DriverConnectors(), " or ")+jobspec.DidYouMean(name, vllm.Connectors()), "vLLM has no connector %q", name)
		case !strings.HasPrefix(name, "Nixl") && kv.attr("side_channel_port").set:
			r.errorf(v.at, "remove side_channel_port, which is NIXL's", "%s does not read side_channel_port", name)
		case strings.HasPrefix(name, "Nixl") && !kv.attr("side_channel_port").set:
			r.errorf(kv.at, `write side_channel_port = "nixl" and port "nixl" {} in the group's network`,
				"%s without side_channel_port: the other side could not reach this server's KV", name)
		}
	}
}
