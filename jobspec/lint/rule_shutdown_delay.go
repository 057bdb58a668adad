package lint

import "time"

// checkShutdownDelay finds servers that stop at the moment in which they leave
// Consul: what the router sends before it hears of it meets a closed port.
func checkShutdownDelay(j *job, r *reporter) {
	const fix = `write shutdown_delay = "5s" in the group`
	for _, s := range j.servers {
		group, task := s.group.attr("shutdown_delay"), s.task.attr("shutdown_delay")
		if !group.set && !task.set {
			r.warnf(s.group.at, fix, "group %q has no shutdown_delay: its servers close their port before the router knows", s.group.name)
			continue
		}
		for _, v := range []value{group, task} {
			if d, ok := v.duration(); ok && d < time.Second {
				r.warnf(v.at, fix, "shutdown_delay %s is shorter than the news takes through Consul", d)
			}
		}
	}
}
