package lint

import (
	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// checkRole finds roles that there are not. A missing one is "both".
func checkRole(j *job, r *reporter) {
	roles := []string{string(pd.RolePrefill), string(pd.RoleDecode), string(pd.RoleBoth)}
	for _, s := range j.servers {
		v := s.config.attr("role")
		if text, known := v.text(); s.ours && known && s.role == "" {
			r.errorf(v.at, `write role = "prefill", "decode" or "both"`+jobspec.DidYouMean(text, roles), "role %q is none", text)
		}
	}
}
