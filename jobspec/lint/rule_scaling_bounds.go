package lint

import "fmt"

// checkScalingBounds finds groups that start outside of what their scaling
// block allows; Nomad refuses such a job.
func checkScalingBounds(j *job, r *reporter) {
	for _, g := range j.groups {
		n := g.first("scaling")
		minV, maxV, countV := n.attr("min"), n.attr("max"), g.attr("count")
		if !n.present() {
			continue
		}
		count, known := countV.number()
		if !countV.set {
			count, known = 1, true
		}
		low, okLow := minV.number()
		high, okHigh := maxV.number()
		switch {
		case okLow && okHigh && low > high:
			r.errorf(minV.at, fmt.Sprintf("write max = %d or more, or lower min", low), "scaling min %d is more than max %d", low, high)
		case known && okLow && count < low:
			r.errorf(minV.at, fmt.Sprintf("write min = %d, or raise count", count), "scaling min %d is more than the group's count %d", low, count)
		case known && okHigh && count > high:
			r.errorf(maxV.at, fmt.Sprintf("write max = %d or more, or lower count", count), "scaling max %d is less than the group's count %d", high, count)
		}
	}
}
