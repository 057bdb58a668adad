package lint

import (
	"maps"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// checkConfigKeys finds keys that the driver's schema does not have. Nomad
// itself asks the driver only when a client starts the task.
func checkConfigKeys(j *job, r *reporter) {
	for _, s := range j.servers {
		if !s.ours || !s.config.present() {
			continue
		}
		unknownKeys(r, s.config, "config", jobspec.ConfigKeys())
		for _, kv := range s.config.blocks(jobspec.KVTransferBlock) {
			unknownKeys(r, kv, jobspec.KVTransferBlock, jobspec.KVTransferKeys())
		}
	}
}

func unknownKeys(r *reporter, n node, where string, known []string) {
	report := func(kind, key string) string {
		return kind + " " + key + " in " + where + " is none that the driver knows"
	}
	fix := func(key string) string {
		return "write one of " + strings.Join(known, ", ") + jobspec.DidYouMean(key, known)
	}
	for _, key := range slices.Sorted(maps.Keys(n.body.Attributes)) {
		if !slices.Contains(known, key) {
			r.errorf(n.body.Attributes[key].NameRange, fix(key), "%s", report("key", key))
		}
	}
	for _, b := range n.body.Blocks {
		if b.Type != "dynamic" && !slices.Contains(known, b.Type) {
			r.errorf(b.TypeRange, fix(b.Type), "%s", report("block", b.Type))
		}
	}
}
