package strategy_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/nomad-autoscaler/sdk"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
)

func queue(target float64) strategy.Rules {
	return strategy.Rules{Target: target, Kind: signal.Sum, Unit: signal.Requests,
		MaxScaleUp: strategy.NoLimit, MaxScaleDown: 1, ScaleDownBelow: 0.5}
}

func latency(target float64) strategy.Rules {
	return strategy.Rules{Target: target, Kind: signal.Level, Unit: signal.Seconds,
		MaxScaleUp: strategy.NoLimit, MaxScaleDown: 1, ScaleDownBelow: 0.5}
}

func with(r strategy.Rules, change func(*strategy.Rules)) strategy.Rules {
	change(&r)
	return r
}

func TestDecide_table(t *testing.T) {
	const up, none, down = sdk.ScaleDirectionUp, sdk.ScaleDirectionNone, sdk.ScaleDirectionDown
	for name, c := range map[string]struct {
		now, peak float64
		count     int64
		rules     strategy.Rules
		want      int64
		direction sdk.ScaleDirection
		reason    string
	}{
		"queue above target grows": {23, 23, 2, queue(4), 6, up,
			"signal 23 / target 4 per instance -> 6"},
		"growth is capped": {23, 23, 2, with(queue(4), func(r *strategy.Rules) { r.MaxScaleUp = 2 }), 4, up,
			"signal 23 / target 4 per instance -> 6, capped to +2 -> 4"},
		"max_scale_up 0 never grows": {23, 23, 2, with(queue(4), func(r *strategy.Rules) { r.MaxScaleUp = 0 }), 2, none,
			"signal 23 / target 4 per instance -> 6, but max_scale_up is 0, count stays 2"},
		"queue exactly at target stays": {8, 8, 2, queue(4), 2, none,
			"signal 8 / target 4 per instance -> 2, count stays 2"},
		"one request more grows": {9, 9, 2, queue(4), 3, up,
			"signal 9 / target 4 per instance -> 3"},
		"fewer would do, but not comfortably": {4, 4, 2, queue(4), 2, none,
			"signal 4 / target 4 per instance -> 1; at most 4 in the window, at 50% of target -> 2, count stays 2"},
		"empty queue shrinks by one": {0, 0, 4, queue(4), 3, down,
			"signal at most 0 in the window, at 50% of target -> 1, capped to -1 -> 3"},
		"shrinking without a cap": {2, 2, 4, with(queue(4), func(r *strategy.Rules) { r.MaxScaleDown = strategy.NoLimit }), 1, down,
			"signal at most 2 in the window, at 50% of target -> 1"},
		"max_scale_down 0 never shrinks": {0, 0, 4, with(queue(4), func(r *strategy.Rules) { r.MaxScaleDown = 0 }), 4, none,
			"signal at most 0 in the window, at 50% of target -> 1, but max_scale_down is 0, count stays 4"},
		"a recent peak holds the count": {0, 7, 4, queue(4), 4, none,
			"signal 0 / target 4 per instance -> 0; at most 7 in the window, at 50% of target -> 4, count stays 4"},
		"an old peak does not grow": {0, 70, 2, queue(4), 2, none,
			"signal 0 / target 4 per instance -> 0; at most 70 in the window, at 50% of target -> 35, count stays 2"},
		"the last instance stays": {0, 0, 1, queue(4), 1, none,
			"signal 0 / target 4 per instance -> 0; at most 0 in the window, at 50% of target -> 1, count stays 1"},
		"nothing from nothing": {0, 0, 0, queue(4), 0, none,
			"signal 0 / target 4 per instance -> 0, count stays 0"},
		"waiting requests start the first instances": {5, 5, 0, queue(4), 2, up,
			"signal 5 / target 4 per instance -> 2"},
		"latency above target grows in proportion": {0.3, 0.3, 6, latency(0.25), 8, up,
			"signal 300ms / target 250ms x 6 instances -> 8"},
		"latency a bit below target stays": {0.2, 0.2, 6, latency(0.25), 6, none,
			"signal 200ms / target 250ms x 6 instances -> 5; at most 200ms in the window, at 50% of target -> 10, count stays 6"},
		"latency far below target shrinks": {0.01, 0.01, 6, latency(0.25), 5, down,
			"signal at most 10ms in the window, at 50% of target -> 1, capped to -1 -> 5"},
		"no transfer at all shrinks": {0, 0, 6, latency(0.25), 5, down,
			"signal at most 0s in the window, at 50% of target -> 1, capped to -1 -> 5"},
		"latency of nobody": {0.5, 0.5, 0, latency(0.25), 2, up,
			"signal 500ms / target 250ms x 1 instances -> 2"},
		"three times a tenth is three": {0.3, 0.3, 3, queue(0.1), 3, none,
			"signal 0.3 / target 0.1 per instance -> 3, count stays 3"},
		"absurd value": {math.MaxFloat64, math.MaxFloat64, 3, with(queue(1e-9), func(r *strategy.Rules) { r.MaxScaleUp = 1 }), 4, up,
			"signal 1.7977e+308 / target 1e-09 per instance -> 1048576, capped to +1 -> 4"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strategy.Decide(strategy.Input{Name: "signal", Now: c.now, Peak: c.peak, Count: c.count, Rules: c.rules})
			require.Equal(t, strategy.Decision{Count: c.want, Direction: c.direction, Reason: c.reason}, got)
		})
	}
}

// randomInput draws every part of a decision, with the values that matter more often.
func randomInput(r *rand.Rand) strategy.Input {
	rules := queue(math.Exp(r.Float64()*12 - 6))
	if r.IntN(2) == 0 {
		rules = latency(rules.Target)
	}
	rules.MaxScaleUp = r.Int64N(5) - 1
	rules.MaxScaleDown = r.Int64N(5) - 1
	rules.ScaleDownBelow = 0.05 + 0.95*r.Float64()
	now := rules.Target * r.Float64() * 20
	if r.IntN(4) == 0 {
		now = 0
	}
	return strategy.Input{Name: "signal", Now: now, Peak: now * (1 + r.Float64()), Count: r.Int64N(20), Rules: rules}
}

func TestDecide_neverStepsBeyondItsCaps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		in := randomInput(r)
		d := strategy.Decide(in)
		if in.Rules.MaxScaleUp != strategy.NoLimit {
			require.LessOrEqual(t, d.Count, in.Count+in.Rules.MaxScaleUp, "%+v", in)
		}
		if in.Rules.MaxScaleDown != strategy.NoLimit {
			require.GreaterOrEqual(t, d.Count, in.Count-in.Rules.MaxScaleDown, "%+v", in)
		}
		require.GreaterOrEqual(t, d.Count, min(1, in.Count), "a group was shrunk to nothing: %+v", in)
		require.NotEmpty(t, d.Reason)
		switch {
		case d.Count > in.Count:
			require.EqualValues(t, sdk.ScaleDirectionUp, d.Direction, "%+v", in)
		case d.Count < in.Count:
			require.EqualValues(t, sdk.ScaleDirectionDown, d.Direction, "%+v", in)
		default:
			require.EqualValues(t, sdk.ScaleDirectionNone, d.Direction, "%+v", in)
		}
	}
}

func TestDecide_moreLoadNeverMeansFewerInstances(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		in := randomInput(r)
		more := in
		more.Now += in.Rules.Target * r.Float64() * 3
		more.Peak = max(in.Peak, more.Now)
		require.LessOrEqual(t, strategy.Decide(in).Count, strategy.Decide(more).Count, "%+v\n%+v", in, more)
	}
}

// A shared quantity does not change when the group does, so a second decision
// right after the first one has nothing left to do.
func TestDecide_settlesOnASteadySum(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		in := randomInput(r)
		in.Rules.Kind, in.Rules.MaxScaleUp, in.Rules.MaxScaleDown = signal.Sum, strategy.NoLimit, strategy.NoLimit
		in.Peak = in.Now
		first := strategy.Decide(in)
		in.Count = first.Count
		require.EqualValues(t, sdk.ScaleDirectionNone, strategy.Decide(in).Direction, "%+v after %+v", in, first)
	}
}
