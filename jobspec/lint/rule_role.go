package lint

import (
	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// checkRole finds servers whose side of the handoff is not said.
func checkRole(j *job, r *reporter) {
	roles := []string{string(pd.RolePrefill), string(pd.RoleDecode), string(pd.RoleBoth)}
	const fix = `write role = "prefill", "decode" or "both"`
	for _, s := range j.servers {
		if !s.ours {
			continue
		}
		v := s.config.attr("role")
		if !v.set {
			r.errorf(s.at(), fix, "task %q has no role", s.task.name)
			continue
		}
		if text, known := v.text(); known && s.role == "" {
			r.errorf(v.at, fix+jobspec.DidYouMean(text, roles), "role %q is none", text)
		}
	}
}
