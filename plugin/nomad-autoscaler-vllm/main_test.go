package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad-autoscaler/plugins"
	"github.com/hashicorp/nomad-autoscaler/plugins/apm"
	"github.com/hashicorp/nomad-autoscaler/plugins/base"
	"github.com/hashicorp/nomad-autoscaler/plugins/strategy"
	"github.com/hashicorp/nomad-autoscaler/sdk"
	"github.com/stretchr/testify/require"
)

// build makes the binary as it ships.
func build(t *testing.T) string {
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	return path
}

func TestPlugin_asTheAgentLoadsIt(t *testing.T) {
	path := build(t)
	t.Run("apm", func(t *testing.T) { servesTheAPM(t, path) })
	t.Run("strategy", func(t *testing.T) { servesTheStrategy(t, path) })
	t.Run("as the example configures it", func(t *testing.T) { loadsTheExample(t, path) })
	t.Run("neither", func(t *testing.T) { printsUsage(t, path) })
}

// dispense starts the binary as the autoscaler's agent does and checks what
// the agent checks: the name, the type, and that the config is taken.
func dispense(t *testing.T, path, kind string, p goplugin.Plugin, config map[string]string) any {
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugins.Handshake,
		Plugins:          map[string]goplugin.Plugin{kind: p, sdk.PluginTypeBase: &base.PluginBase{}},
		Cmd:              exec.Command(path, kind),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	rpc, err := client.Client()
	require.NoError(t, err)
	raw, err := rpc.Dispense(kind)
	require.NoError(t, err)
	info, err := raw.(base.Base).PluginInfo()
	require.NoError(t, err)
	require.Equal(t, &base.PluginInfo{Name: filepath.Base(path), PluginType: kind}, info)
	require.NoError(t, raw.(base.Base).SetConfig(config))
	require.NoError(t, raw.(base.Base).SetConfig(config), "SIGHUP sets it again")
	return raw
}

func servesTheAPM(t *testing.T, path string) {
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	}))
	t.Cleanup(consul.Close)
	a := dispense(t, path, sdk.PluginTypeAPM, &apm.PluginAPM{}, map[string]string{
		"consul_addr": consul.URL, "nomad_address": "http://127.0.0.1:4646", "nomad_config_inherit": "true",
	}).(apm.APM)
	_, err := a.Query("queue_depth/prefill/pd", sdk.TimeRange{From: time.Now().Add(-time.Minute), To: time.Now()})
	require.ErrorContains(t, err, `no instance of "prefill/pd@default"`)
	require.ErrorContains(t, err, consul.Listener.Addr().String())
}

func servesTheStrategy(t *testing.T, path string) {
	s := dispense(t, path, sdk.PluginTypeStrategy, &strategy.PluginStrategy{}, nil).(strategy.Strategy)
	eval, err := s.Run(&sdk.ScalingCheckEvaluation{
		Check: &sdk.ScalingPolicyCheck{Name: "queue", Query: "queue_depth/prefill/pd",
			Strategy: &sdk.ScalingPolicyStrategy{Name: "vllm-pd", Config: map[string]string{"target": "4"}}},
		Metrics: sdk.TimestampedMetrics{{Timestamp: time.Now(), Value: 23}},
	}, 2)
	require.NoError(t, err)
	require.EqualValues(t, 6, eval.Action.Count)
}

func printsUsage(t *testing.T, path string) {
	for _, args := range [][]string{nil, {"target"}, {"apm", "strategy"}, {"-h"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, args)
		require.Equal(t, 2, exit.ExitCode(), args)
		require.Contains(t, string(out), "Usage: nomad-autoscaler-vllm apm|strategy")
	}
}
