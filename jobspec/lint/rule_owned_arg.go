package lint

import "github.com/nomad-vllm/nomad-vllm/jobspec"

// checkOwnedArgs finds arguments that would contradict what the driver passes:
// vLLM takes the last one, so the server would listen elsewhere than Consul says.
func checkOwnedArgs(j *job, r *reporter) {
	for _, s := range j.servers {
		if !s.ours {
			continue
		}
		for i, arg := range s.args.items {
			if flag, instead, owned := jobspec.OwnedFlag(arg, s.sets); owned {
				r.errorf(s.args.at[i], "leave it out; in its place goes "+instead, "%s in args: the driver passes it itself", flag)
			}
		}
	}
}

// sets reports whether the config block has the key, as an attribute or a block.
func (s *server) sets(key string) bool {
	return s.config.attr(key).set || s.config.first(key).present()
}
