package lint

import (
	"fmt"
	"time"
)

// nomadGrace is Nomad's default of check_restart.grace.
const nomadGrace = time.Second

// checkRestart finds checks that restart a server before it can have loaded,
// again and again.
func checkRestart(j *job, r *reporter) {
	for _, s := range j.servers {
		if s.service == nil {
			continue
		}
		restarts := s.service.blocks("check_restart")
		for _, c := range s.service.blocks("check") {
			restarts = append(restarts, c.blocks("check_restart")...)
		}
		for _, n := range restarts {
			limit, known := n.attr("limit").number()
			if known && limit == 0 || !n.attr("limit").set {
				continue // off
			}
			v := n.attr("grace")
			if grace, ok := v.durationOr(nomadGrace); ok && grace < j.opts.Load {
				r.errorf(v.at, fmt.Sprintf("write grace = %q or longer", short(2*j.opts.Load)),
					"grace is %s, and the server takes about %s to load its model: it is restarted for ever", short(grace), short(j.opts.Load))
			}
		}
	}
}
