package lint

// checkLoneRole finds one half of a pair. The other may live in another job,
// so it is only a warning.
func checkLoneRole(j *job, r *reporter) {
	var prefill, decode *server
	for _, s := range j.servers {
		if s.role == "" {
			return // it may be the missing half
		}
		if s.role.Prefills() && prefill == nil {
			prefill = s
		}
		if s.role.Decodes() && decode == nil {
			decode = s
		}
	}
	switch {
	case prefill != nil && decode == nil:
		r.warnf(prefill.group.at, `add a group with role = "decode", unless another job has it`,
			"the job has prefills and no decode: nothing can be answered")
	case decode != nil && prefill == nil:
		r.warnf(decode.group.at, `add a group with role = "prefill", or write role = "both"`,
			"the job has decodes and no prefill: every prompt is computed by the decode itself")
	}
}
