package driver_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// TestSim_servesAsThePrefillThatTheDriverStarts holds the driver's command
// line against a program that takes vLLM's own.
func TestSim_servesAsThePrefillThatTheDriverStarts(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "vllm-sim")
	build := exec.Command("go", "build", "-o", bin, "github.com/nomad-vllm/nomad-vllm/cmd/vllm-sim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)

	d := newDriver(t, driver.Config{})
	k := newTask(t, "", func(c *driver.TaskConfig) {
		c.Command, c.Role = bin, "prefill"
		c.Args = []string{"--max-model-len=8192"}
		c.KVTransfer = &driver.KVTransfer{Connector: "NixlConnector", SideChannelPort: "nixl"}
	})
	http1, nixl := freePort(t), freePort(t)
	k.Resources.Ports = &structs.AllocatedPorts{
		{Label: "http", HostIP: "127.0.0.1", Value: http1}, {Label: "nixl", HostIP: "127.0.0.1", Value: nixl},
	}
	k.start(d)
	require.Eventually(t, func() bool {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", http1))
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 2*soon, often)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", nixl))
	require.NoError(t, err, "the side channel is where the driver said")
	conn.Close()
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	res := k.wait(d)
	require.True(t, res.Successful(), "%+v", res)
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
