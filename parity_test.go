package nomadvllm

import (
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
