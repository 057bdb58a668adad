package strategy

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad-autoscaler/plugins/base"
	"github.com/hashicorp/nomad-autoscaler/sdk"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
)

// Plugin is the strategy as the autoscaler loads it. It is safe for
// concurrent use.
type Plugin struct {
	name   string
	logger hclog.Logger
}

// New makes the strategy. The name must be the plugin's file name, or the
// autoscaler refuses it.
func New(name string, logger hclog.Logger) *Plugin {
	return &Plugin{name: name, logger: logger.Named("vllm_pd")}
}

// PluginInfo implements base.Base.
func (p *Plugin) PluginInfo() (*base.PluginInfo, error) {
	return &base.PluginInfo{Name: p.name, PluginType: sdk.PluginTypeStrategy}, nil
}

// SetConfig implements base.Base. There is nothing to set: everything about a
// decision is in the policy's check.
func (p *Plugin) SetConfig(config map[string]string) error {
	for key := range config {
		if !strings.HasPrefix(key, "nomad_") { // the agent merges its own connection settings in
			return fmt.Errorf("strategy config %q: the strategy has no settings of its own; put it into the strategy block of a policy's check", key)
		}
	}
	return nil
}

// Run implements strategy.Strategy. It always returns an evaluation with an
// action or an error: the gRPC server beneath dereferences what it gets, and a
// plugin that died is not started again until the agent is.
func (p *Plugin) Run(eval *sdk.ScalingCheckEvaluation, count int64) (out *sdk.ScalingCheckEvaluation, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.logger.Error("strategy panicked", "panic", r, "stack", string(debug.Stack()))
			out, err = nil, fmt.Errorf("strategy panicked: %v; please report it", r)
		}
	}()
	if eval == nil || eval.Check == nil || eval.Check.Strategy == nil {
		return nil, errors.New("evaluation without a check")
	}
	rules, err := ParseRules(eval.Check.Strategy.Config, eval.Check.Query)
	if err != nil {
		return nil, fmt.Errorf("check %q: %w", eval.Check.Name, err)
	}
	in := Input{Name: title(eval.Check), Count: max(0, count), Rules: rules}
	if in.Now, in.Peak, err = points(eval.Metrics); err != nil {
		return nil, fmt.Errorf("check %q: query %q: %w", eval.Check.Name, eval.Check.Query, err)
	}
	decision := Decide(in)
	p.logger.Trace("decided", "check", eval.Check.Name, "query", eval.Check.Query, "points", len(eval.Metrics),
		"now", in.Now, "peak", in.Peak, "count", in.Count, "target", rules.Target, "kind", rules.Kind,
		"max_scale_up", rules.MaxScaleUp, "max_scale_down", rules.MaxScaleDown, "scale_down_below", rules.ScaleDownBelow,
		"new_count", decision.Count, "direction", decision.Direction.String(), "reason", decision.Reason)
	eval.Action = action(eval.Action, decision)
	return eval, nil
}

// action fills the evaluation's action, keeping what the agent put into its
// Meta. Over gRPC that arrives as nil and must not leave so.
func action(a *sdk.ScalingAction, d Decision) *sdk.ScalingAction {
	if a == nil {
		a = &sdk.ScalingAction{}
	}
	a.Canonicalize()
	a.Count, a.Direction, a.Reason = d.Count, d.Direction, d.Reason
	return a
}

// points takes the newest and the highest of the window's points. A value
// that is no quantity is an error, because any count made of it would be a guess.
func points(metrics sdk.TimestampedMetrics) (now, peak float64, err error) {
	if len(metrics) == 0 {
		return 0, 0, errors.New("no data points; the source answered nothing")
	}
	newest := metrics[0]
	for _, m := range metrics {
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) || m.Value < 0 {
			return 0, 0, fmt.Errorf("value %v at %s: want 0 or more", m.Value, m.Timestamp)
		}
		if !m.Timestamp.Before(newest.Timestamp) {
			newest = m
		}
		peak = max(peak, m.Value)
	}
	return newest.Value, peak, nil
}

// title is the signal's name where the query is ours, else the check's.
func title(check *sdk.ScalingPolicyCheck) string {
	if q, err := signal.ParseQuery(check.Query); err == nil {
		return q.Signal.Name
	}
	return check.Name
}
