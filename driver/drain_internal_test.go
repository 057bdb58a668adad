package driver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func drainPlan(t TaskConfig, env map[string]string) (string, error) {
	t.Model, t.Role, t.Port = "m", "both", "http"
	p, err := newPlan(situation{Task: t, Command: "vllm", Env: env, Ports: []port{{Label: "http", HostIP: "127.0.0.1", Number: 1}}})
	return strings.Join(p.Argv, " "), err
}

func TestDrain_followsFromKillTimeoutWithRoomToSpare(t *testing.T) {
	for kill, want := range map[string]string{"30s": "--shutdown-timeout 20", "3s": "--shutdown-timeout 2", "2m": "--shutdown-timeout 80"} {
		argv, err := drainPlan(TaskConfig{KillTimeout: kill}, nil)
		require.NoError(t, err)
		require.Contains(t, argv, want)
	}
	argv, err := drainPlan(TaskConfig{}, nil)
	require.NoError(t, err)
	require.NotContains(t, argv, shutdownTimeout, "who says nothing gets vLLM's default")
}

func TestDrain_argsWin(t *testing.T) {
	argv, err := drainPlan(TaskConfig{KillTimeout: "30s", Args: []string{"--shutdown_timeout=25"}}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(argv, "timeout"))
}

func TestDrain_refusesWhatCutsAnswersOff(t *testing.T) {
	_, err := drainPlan(TaskConfig{KillTimeout: "30s", Args: []string{"--shutdown-timeout", "30"}}, nil)
	require.EqualError(t, err, `args: --shutdown-timeout 30 is not less than kill_timeout "30s": answers would be cut off; remove it from args for 20`)
	for _, bad := range []string{"soon", "2s", "-30s"} {
		_, err = drainPlan(TaskConfig{KillTimeout: bad}, nil)
		require.ErrorContains(t, err, "want a duration of at least 3s")
	}
}

func TestEngineV1_theOldEngineCannotHandOver(t *testing.T) {
	_, err := drainPlan(TaskConfig{KVTransfer: &KVTransfer{Connector: "NixlConnector", SideChannelPort: "http"}}, map[string]string{"VLLM_USE_V1": "0"})
	require.ErrorContains(t, err, "VLLM_USE_V1=0: vLLM's old engine has none of the KV connectors")
	_, err = drainPlan(TaskConfig{}, map[string]string{"VLLM_USE_V1": "0"})
	require.NoError(t, err, "without a handoff it is nobody's business")
}
