package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// StrategyKeys are the settings of our strategy plugin, repeated like Metrics.
func StrategyKeys() []string {
	return []string{"target", "kind", "max_scale_up", "max_scale_down", "scale_down_below"}
}

// checkScalingStrategy finds settings that the strategy refuses, which stops
// the whole policy and shows only in the autoscaler's log.
func checkScalingStrategy(j *job, r *reporter) {
	for _, g := range j.groups {
		for _, c := range g.first("scaling").first("policy").blocks("check") {
			strategies := c.blocks("strategy")
			if len(strategies) == 0 {
				r.errorf(c.at, `add strategy "vllm-pd" { target = 4 }`, "check %q has no strategy", c.label())
			}
			for _, s := range strategies {
				if s.label() == strategyVLLM {
					checkStrategy(s, r)
					checkStrategyValues(c, s, r)
				} else {
					checkStrategyName(c, s, r)
				}
			}
		}
	}
}

// checkStrategyName finds a slip in the label beside a signal of ours. Any other
// strategy is the autoscaler's or somebody's own.
func checkStrategyName(check, s node, r *reporter) {
	source, _ := check.attr("source").text()
	near := jobspec.Nearest(s.label(), []string{strategyVLLM, sourceVLLM})
	if source == sourceVLLM && near != "" {
		r.warnf(s.at, fmt.Sprintf("write strategy %q", strategyVLLM), "strategy %q looks like a slip for %q, which the autoscaler shows only in its log", s.label(), strategyVLLM)
	}
}

func checkStrategy(s node, r *reporter) {
	for _, key := range slices.Sorted(maps.Keys(s.body.Attributes)) {
		if !slices.Contains(StrategyKeys(), key) {
			r.errorf(s.body.Attributes[key].NameRange, "write one of "+strings.Join(StrategyKeys(), ", ")+jobspec.DidYouMean(key, StrategyKeys()),
				"strategy %q has no setting %s", strategyVLLM, key)
		}
	}
	for _, b := range s.body.Blocks {
		r.errorf(b.TypeRange, "write settings as key = value", "strategy %q has no block %s: the autoscaler passes on flat settings only", strategyVLLM, b.Type)
	}
	if !s.attr("target").set {
		r.errorf(s.at, "write target = 4, for example: the value to keep each server at or below", "strategy %q has no target", strategyVLLM)
	}
}
