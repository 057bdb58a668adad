package lint

import "github.com/nomad-vllm/nomad-vllm/jobspec"

// checkNetworkMode finds groups with a network of their own. The driver starts
// vLLM as a process of the host, where it cannot bind that network's address.
func checkNetworkMode(j *job, r *reporter) {
	for _, g := range j.groups {
		if !g.runsOurs() {
			continue
		}
		for _, network := range g.blocks("network") {
			v := network.attr("mode")
			if mode, known := v.text(); known && mode != "" && mode != "host" {
				r.errorf(v.at, "leave mode out: the host's network is the default",
					"network mode %q in group %q: the vllm driver runs vLLM on the host's network", mode, g.name)
			}
		}
	}
}

// runsOurs reports whether one of the group's tasks is of our driver.
func (g *group) runsOurs() bool {
	for _, t := range g.tasks {
		if t.driver == jobspec.DriverName {
			return true
		}
	}
	return false
}
