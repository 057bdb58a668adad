// Package conformance holds the built driver plugin to the tests that Nomad
// has for its own drivers. It is a module of its own, because those tests bring
// dependencies along (Docker's, for one) that nothing else here needs, and it
// knows the plugin as Nomad does: an executable.
package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/client/lib/cgroupslib"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/testutils"
	"github.com/stretchr/testify/require"
)

// taskConfig is the part of the driver's task config that a task needs.
type taskConfig struct {
	Model   string `codec:"model"`
	Role    string `codec:"role"`
	Port    string `codec:"port"`
	Command string `codec:"command"`
}

// TestExecTaskStreaming runs all cases: 9 of streams and terminals, and the one
// of isolation, which for a driver without file-system isolation wants the
// command to see the host's files and, as root, to be in the task's cgroup.
func TestExecTaskStreaming(t *testing.T) {
	require.NoError(t, cgroupslib.Init(hclog.NewNullLogger(), fmt.Sprintf("0-%d", runtime.NumCPU()-1)))
	h := testutils.NewDriverHarness(t, startPlugin(t))
	task := &drivers.TaskConfig{
		ID: uuid.Generate() + "/vllm/" + uuid.Short(), AllocID: uuid.Generate(), Name: "vllm",
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{},
			LinuxResources: &drivers.LinuxResources{},
			Ports:          &structs.AllocatedPorts{{Label: "http", HostIP: "127.0.0.1", Value: 23456}},
		},
	}
	if cgroupslib.GetMode() != cgroupslib.OFF {
		h.MakeTaskCgroup(task.AllocID, task.Name)
		task.Resources.LinuxResources.CpusetCgroupPath = cgroupslib.LinuxResourcesPath(task.AllocID, task.Name, false)
	}
	cleanup := h.MkAllocDir(task, true)
	t.Cleanup(cleanup)
	// An engine for this purpose: COMMAND serve MODEL ..., which a shell takes
	// for a script in the task's directory.
	require.NoError(t, os.WriteFile(filepath.Join(task.TaskDir().Dir, "serve"), []byte("exec sleep 600\n"), 0o644))
	require.NoError(t, task.EncodeConcreteDriverConfig(&taskConfig{Model: "m", Role: "both", Port: "http", Command: "/bin/sh"}))
	_, _, err := h.StartTask(task)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.DestroyTask(task.ID, true)) })

	testutils.ExecTaskStreamingConformanceTests(t, h, task.ID)
}

func startPlugin(t *testing.T) drivers.DriverPlugin {
	t.Helper()
	path := os.Getenv("NOMAD_VLLM_DRIVER")
	require.NotEmpty(t, path, "run `make conformance`: it builds the plugin and sets NOMAD_VLLM_DRIVER")
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: plugin.PluginSet{
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, hclog.NewNullLogger()),
			base.PluginTypeBase:   &base.PluginBase{},
		},
		Cmd: exec.Command(path), AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	conn, err := client.Client()
	require.NoError(t, err)
	raw, err := conn.Dispense(base.PluginTypeDriver)
	require.NoError(t, err)
	return raw.(drivers.DriverPlugin)
}
