package nomadvllm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

// The linter checks job files without linking the driver or the autoscaler's
// plugins, so it repeats what they accept. Here the two are compared.

func TestLinter_knowsTheDriversKeys(t *testing.T) {
	require.ElementsMatch(t, codecKeys(driver.TaskConfig{}), jobspec.ConfigKeys())
	require.ElementsMatch(t, codecKeys(driver.KVTransfer{}), jobspec.KVTransferKeys())
}

func codecKeys(config any) (keys []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(config)) {
		key, _, _ := strings.Cut(f.Tag.Get("codec"), ",")
		keys = append(keys, key)
	}
	return keys
}

func TestLinter_knowsTheAutoscalersSignalsAndSettings(t *testing.T) {
	var names []string
	for _, s := range signal.All() {
		names = append(names, s.Name)
	}
	require.ElementsMatch(t, names, lint.Metrics())

	_, err := strategy.ParseRules(map[string]string{"no such key": "1", "target": "1"}, signal.QueueDepth+"/prefill/pd")
	require.ErrorContains(t, err, "want "+strings.Join(lint.StrategyKeys(), ", "))
}

func TestLinter_refusesTheValuesThatTheStrategyRefuses(t *testing.T) {
	values := map[string][]string{
		"target":           {"4", "0.5", "0", "-1", "1e3", "soon", "250ms", "0s", "-1s", "", "NaN", "Inf"},
		"kind":             {"sum", "level", "mean", ""},
		"max_scale_up":     {"0", "3", "-1", "0.5", "2.0", "many", "99999999999"},
		"max_scale_down":   {"0", "1", "-1", "1e3"},
		"scale_down_below": {"0.5", "1", "0", "1.01", "-0.5", "half", "NaN"},
	}
	queries := map[string]string{"avg_cpu": "nomad-apm"}
	for _, s := range signal.All() {
		queries[s.Name+"/prefill/pd"] = "vllm"
	}
	for query, source := range queries {
		for key, all := range values {
			for _, v := range all {
				config := map[string]string{"target": "4", key: v}
				if source != "vllm" && key != "kind" {
					config["kind"] = "sum"
				}
				_, err := strategy.ParseRules(config, query)
				require.Equal(t, err != nil, strategyRefused(config, source, query), "%s, %v: %v", query, config, err)
			}
		}
	}
}

// strategyRefused lints a job whose only check has the strategy.
func strategyRefused(config map[string]string, source, query string) bool {
	var block strings.Builder
	for k, v := range config {
		fmt.Fprintf(&block, "%s = %q\n", k, v)
	}
	src := fmt.Sprintf(`job "pd" {
  group "prefill" {
    scaling {
      max = 2
      policy {
        check "c" {
          source = %q
          query  = %q
          strategy "vllm-pd" {
            %s
          }
        }
      }
    }
  }
}`, source, query, block.String())
	for _, f := range lint.File("pd.nomad.hcl", []byte(src), lint.Options{}) {
		if f.Rule == "scaling-strategy" {
			return true
		}
	}
	return false
}
