package strategy_test

import (
	"math"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad-autoscaler/plugins/base"
	sdkstrategy "github.com/hashicorp/nomad-autoscaler/plugins/strategy"
	"github.com/hashicorp/nomad-autoscaler/sdk"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
)

// overGRPC serves the strategy as the autoscaler's agent would see it. What
// gRPC loses (the action's Meta, nil results) it loses here too.
func overGRPC(t *testing.T) sdkstrategy.Strategy {
	impl := strategy.New("nomad-autoscaler-vllm", hclog.NewNullLogger())
	client, _ := goplugin.TestPluginGRPCConn(t, false, map[string]goplugin.Plugin{
		sdk.PluginTypeStrategy: &sdkstrategy.PluginStrategy{Impl: impl},
		sdk.PluginTypeBase:     &base.PluginBase{Impl: impl},
	})
	t.Cleanup(func() { client.Close() }) // which tells the server to stop; stopping it here too would be a race
	raw, err := client.Dispense(sdk.PluginTypeStrategy)
	require.NoError(t, err)
	return raw.(sdkstrategy.Strategy)
}

func check(query string, config map[string]string, values ...float64) *sdk.ScalingCheckEvaluation {
	eval := &sdk.ScalingCheckEvaluation{
		Check: &sdk.ScalingPolicyCheck{Name: "queue", Source: "vllm", Query: query,
			Strategy: &sdk.ScalingPolicyStrategy{Name: "vllm-pd", Config: config}},
		Action: &sdk.ScalingAction{},
	}
	for i, v := range values {
		eval.Metrics = append(eval.Metrics, sdk.TimestampedMetric{Timestamp: time.Unix(int64(i), 0), Value: v})
	}
	return eval
}

func TestRun_overGRPC(t *testing.T) {
	s := overGRPC(t)

	info, err := s.PluginInfo()
	require.NoError(t, err)
	require.Equal(t, &base.PluginInfo{Name: "nomad-autoscaler-vllm", PluginType: "strategy"}, info)

	eval, err := s.Run(check("queue_depth/prefill/pd", map[string]string{"target": "4", "max_scale_up": "2"}, 1, 23), 2)
	require.NoError(t, err)
	require.EqualValues(t, 4, eval.Action.Count)
	require.EqualValues(t, sdk.ScaleDirectionUp, eval.Action.Direction)
	require.Equal(t, "queue_depth 23 / target 4 per instance -> 6, capped to +2 -> 4", eval.Action.Reason)
	require.NotNil(t, eval.Action.Meta)
}

func TestRun_usesTheNewestPointToGrowAndTheHighestToShrink(t *testing.T) {
	s := overGRPC(t)
	config := map[string]string{"target": "4"}

	eval, err := s.Run(check("queue_depth/prefill/pd", config, 40, 0), 4)
	require.NoError(t, err)
	require.EqualValues(t, 4, eval.Action.Count, "a queue that is gone neither grows the group nor lets it shrink yet")

	eval, err = s.Run(check("queue_depth/prefill/pd", config, 1, 0), 4)
	require.NoError(t, err)
	require.EqualValues(t, 3, eval.Action.Count)
	require.EqualValues(t, sdk.ScaleDirectionDown, eval.Action.Direction)
}

func TestRun_answersBrokenInputWithAnError(t *testing.T) {
	s := overGRPC(t)
	config := map[string]string{"target": "4"}
	for name, c := range map[string]struct {
		eval *sdk.ScalingCheckEvaluation
		want string
	}{
		"no points":      {check("queue_depth/prefill/pd", config), "no data points"},
		"NaN":            {check("queue_depth/prefill/pd", config, 1, math.NaN()), "value NaN"},
		"infinite":       {check("queue_depth/prefill/pd", config, math.Inf(1)), "value +Inf"},
		"negative":       {check("queue_depth/prefill/pd", config, -1), "value -1"},
		"no target":      {check("queue_depth/prefill/pd", nil, 1), `check "queue": strategy target = "": required`},
		"foreign source": {check("sum(up)", config, 1), "so say what it measures"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Run(c.eval, 3)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestRun_withoutACheckIsAnErrorNotAPanic(t *testing.T) {
	s := strategy.New("x", hclog.NewNullLogger())
	for _, eval := range []*sdk.ScalingCheckEvaluation{nil, {}, {Check: &sdk.ScalingPolicyCheck{}}} {
		_, err := s.Run(eval, 1)
		require.ErrorContains(t, err, "without a check")
	}
}

func TestSetConfig_takesOnlyWhatTheAgentAdds(t *testing.T) {
	s := overGRPC(t)
	require.NoError(t, s.SetConfig(map[string]string{"nomad_address": "http://127.0.0.1:4646", "nomad_token": "secret"}))
	require.NoError(t, s.SetConfig(nil))
	require.ErrorContains(t, s.SetConfig(map[string]string{"target": "4"}), "put it into the strategy block")
}
