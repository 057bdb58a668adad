package driver_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

const (
	soon  = 10 * time.Second // for what takes milliseconds on an idle machine
	often = 10 * time.Millisecond
)

// newDriver is a driver behind real gRPC, as Nomad has it.
func newDriver(t *testing.T, cfg driver.Config) drivers.DriverPlugin {
	d, _ := newPlugin(t, cfg)
	return d
}

// newPlugin can also be ended like a plugin process: the driver's goroutines
// stop and the connection is gone.
func newPlugin(t *testing.T, cfg driver.Config) (drivers.DriverPlugin, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: testWriter{t}})
	impl := driver.New(ctx, log)
	client, _ := plugin.TestPluginGRPCConn(t, true, map[string]plugin.Plugin{
		base.PluginTypeDriver: drivers.NewDriverPlugin(impl, log),
		base.PluginTypeBase:   &base.PluginBase{Impl: impl},
	})
	raw, err := client.Dispense(base.PluginTypeDriver)
	require.NoError(t, err)
	d := raw.(drivers.DriverPlugin)
	require.NoError(t, d.SetConfig(pluginConfig(t, cfg)))
	ended := false
	end := func() {
		if !ended {
			ended = true
			cancel()
			_ = client.Close() // it stops the server too
		}
	}
	t.Cleanup(end)
	return d, end
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}

// task is a task that runs one of the engine's behaviours.
type task struct {
	*drivers.TaskConfig
	t     *testing.T
	notes string
}

func newTask(t *testing.T, behaviour string, change ...func(*driver.TaskConfig)) *task {
	dir := t.TempDir()
	exe, err := os.Executable()
	require.NoError(t, err)
	alloc := uuid.NewString()
	k := &task{t: t, notes: filepath.Join(dir, "notes"), TaskConfig: &drivers.TaskConfig{
		ID: alloc + "/vllm/" + uuid.NewString()[:8], AllocID: alloc, Name: "vllm", JobName: "pd", TaskGroupName: "prefill",
		AllocDir:   filepath.Join(dir, "alloc"),
		StdoutPath: filepath.Join(dir, "stdout"), StderrPath: filepath.Join(dir, "stderr"),
		Env: map[string]string{engineEnv: behaviour, "TEST_NOTES": filepath.Join(dir, "notes"), "PATH": os.Getenv("PATH")},
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{},
			LinuxResources: &drivers.LinuxResources{},
			Ports: &structs.AllocatedPorts{
				{Label: "http", HostIP: "127.0.0.1", Value: 23456},
				{Label: "nixl", HostIP: "127.0.0.1", Value: 23457},
			},
		},
	}}
	for _, d := range []string{k.notes, k.TaskDir().Dir} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	for _, f := range []string{k.StdoutPath, k.StderrPath} {
		require.NoError(t, os.WriteFile(f, nil, 0o600))
	}
	cfg := driver.TaskConfig{Model: "m", Role: "both", Port: "http", Command: exe}
	for _, c := range change {
		c(&cfg)
	}
	require.NoError(t, k.EncodeConcreteDriverConfig(&cfg))
	return k
}

// start starts the task and makes sure that nothing of it outlives the test.
func (k *task) start(d drivers.DriverPlugin) *drivers.TaskHandle {
	k.t.Helper()
	h, _, err := d.StartTask(k.TaskConfig)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { _ = d.DestroyTask(k.ID, true) })
	return h
}

// said waits for the engine to leave a note and returns the PID in it.
func (k *task) said(name string) int {
	k.t.Helper()
	var pid int
	require.Eventually(k.t, func() bool {
		b, err := os.ReadFile(filepath.Join(k.notes, name))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	}, soon, often, "the engine never said %q", name)
	return pid
}

func (k *task) wait(d drivers.DriverPlugin) *drivers.ExitResult {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*soon)
	defer cancel()
	ch, err := d.WaitTask(ctx, k.ID)
	require.NoError(k.t, err)
	res, ok := <-ch
	require.True(k.t, ok, "wait ended without a result")
	return res
}

func gone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			st, err := shim.ReadStat(pid)
			return err != nil || st.State == 'Z' // its next parent may take its time to reap it
		}, soon, often, "process %d is still there", pid)
	}
}

func shimPID(t *testing.T, d drivers.DriverPlugin, id string) int {
	t.Helper()
	s, err := d.InspectTask(id)
	require.NoError(t, err)
	pid, err := strconv.Atoi(s.DriverAttributes["shim_pid"])
	require.NoError(t, err)
	return pid
}
