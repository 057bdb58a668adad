package lint

import (
	"fmt"
	"time"
)

// Nomad's defaults of the update block.
const (
	nomadHealthyDeadline  = 5 * time.Minute
	nomadProgressDeadline = 10 * time.Minute
)

// checkDeadlines finds deployments that are given up while models still load.
func checkDeadlines(j *job, r *reporter) {
	checked := map[*group]bool{}
	for _, s := range j.servers {
		if checked[s.group] {
			continue
		}
		checked[s.group] = true
		healthyAt, progressAt := s.group.setting("update", "healthy_deadline"), s.group.setting("update", "progress_deadline")
		healthy, ok := healthyAt.durationOr(nomadHealthyDeadline)
		progress, ok2 := progressAt.durationOr(nomadProgressDeadline)
		if !ok || !ok2 {
			continue
		}
		if healthy < j.opts.Load {
			r.errorf(healthyAt.at, fmt.Sprintf("write healthy_deadline = %q or longer in update", short(2*j.opts.Load)),
				"healthy_deadline is %s, and group %q takes about %s to load its model", short(healthy), s.group.name, short(j.opts.Load))
		}
		if progress != 0 && progress <= healthy {
			r.errorf(progressAt.at, fmt.Sprintf("write progress_deadline = %q or longer", short(healthy+5*time.Minute)),
				"progress_deadline %s is not longer than healthy_deadline %s, which Nomad refuses", short(progress), short(healthy))
		}
	}
}
