package strategy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
)

func TestParseRules_defaults(t *testing.T) {
	r, err := strategy.ParseRules(map[string]string{"target": "4"}, "queue_depth/prefill/pd")
	require.NoError(t, err)
	require.Equal(t, queue(4), r)

	r, err = strategy.ParseRules(map[string]string{"target": "250ms"}, "kv_transfer_latency/decode/pd")
	require.NoError(t, err)
	require.Equal(t, latency(0.25), r)

	r, err = strategy.ParseRules(map[string]string{"target": "0.25"}, "kv_transfer_latency/decode/pd")
	require.NoError(t, err)
	require.Equal(t, latency(0.25), r)
}

func TestParseRules_everyKey(t *testing.T) {
	r, err := strategy.ParseRules(map[string]string{
		"target": "2.5", "kind": "level", "max_scale_up": "0", "max_scale_down": "3", "scale_down_below": "0.8",
	}, "avg(some_prometheus_gauge)")
	require.NoError(t, err)
	require.Equal(t, strategy.Rules{Target: 2.5, Kind: signal.Level, MaxScaleUp: 0, MaxScaleDown: 3, ScaleDownBelow: 0.8}, r)
}

func TestParseRules_namesEveryProblem(t *testing.T) {
	const ours, foreign = "queue_depth/prefill/pd", "sum(up)"
	for name, c := range map[string]struct {
		config map[string]string
		query  string
		want   []string
	}{
		"nothing said": {nil, ours, []string{`target = "": required`}},
		"several": {map[string]string{"target": "many", "max_scale_up": "-1", "max_scale_down": "1.5", "scale_down_below": "2", "cooldown": "1m"}, ours, []string{
			`cooldown = "1m": unknown key; want target, kind, max_scale_up, max_scale_down, scale_down_below`,
			`target = "many": want a number above 0`,
			`max_scale_up = "-1": want a whole number of instances, 0 or more`,
			`max_scale_down = "1.5": want a whole number`,
			`scale_down_below = "2": want a fraction of the target`,
		}},
		"zero target":        {map[string]string{"target": "0"}, ours, []string{`target = "0": want a number above 0`}},
		"NaN target":         {map[string]string{"target": "NaN"}, ours, []string{`target = "NaN"`}},
		"infinite target":    {map[string]string{"target": "Inf"}, ours, []string{`target = "Inf"`}},
		"negative time":      {map[string]string{"target": "-1s"}, "kv_transfer_latency/decode/pd", []string{`target = "-1s"`}},
		"a time of requests": {map[string]string{"target": "250ms"}, ours, []string{`a time, but the query counts requests`}},
		"NaN fraction":       {map[string]string{"target": "4", "scale_down_below": "NaN"}, ours, []string{`scale_down_below = "NaN"`}},
		"no kind":            {map[string]string{"target": "4"}, foreign, []string{`kind = "": query "sum(up)" is not this project's`, `"sum" if`, `"level" if`}},
		"bad kind":           {map[string]string{"target": "4", "kind": "gauge"}, foreign, []string{`kind = "gauge": want "sum" or "level"`}},
		"contrary kind":      {map[string]string{"target": "4", "kind": "level"}, ours, []string{`kind = "level": query "queue_depth/prefill/pd" is a "sum"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := strategy.ParseRules(c.config, c.query)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
