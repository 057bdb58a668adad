package lint

// checkScalingNames finds checks of one name in one policy. The autoscaler
// keeps them by name, so only one of the two is ever looked at, and not always
// the same.
func checkScalingNames(j *job, r *reporter) {
	for _, g := range j.groups {
		for _, policy := range g.first("scaling").blocks("policy") {
			seen := map[string]int{}
			for _, c := range policy.blocks("check") {
				if line, twice := seen[c.label()]; twice {
					r.errorf(c.at, "give it a name of its own", "a second check %q, after the one in line %d: the autoscaler keeps only one", c.label(), line)
					continue
				}
				seen[c.label()] = c.at.Start.Line
			}
		}
	}
}
