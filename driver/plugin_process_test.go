package driver_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// pluginEnv makes this binary the plugin, as plugin/nomad-driver-vllm is; its
// value names a file for goroutine dumps, one at each SIGUSR2.
const pluginEnv = "TEST_PLUGIN"

func servePlugin(dump string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	go func() {
		for range c {
			var b bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
			_ = os.WriteFile(dump+".tmp", b.Bytes(), 0o600)
			_ = os.Rename(dump+".tmp", dump)
		}
	}()
	driver.Serve()
}

// pluginProcess is the driver as Nomad runs it: a process of its own.
type pluginProcess struct {
	drivers.DriverPlugin
	t      *testing.T
	client *plugin.Client
	pid    int
	dump   string
	log    *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startPlugin(t *testing.T, cfg driver.Config) *pluginProcess {
	t.Helper()
	p := &pluginProcess{t: t, dump: filepath.Join(t.TempDir(), "goroutines"), log: &safeBuffer{}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), pluginEnv+"="+p.dump)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: plugin.PluginSet{
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, hclog.NewNullLogger()),
			base.PluginTypeBase:   &base.PluginBase{},
		},
		Cmd: cmd, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger: hclog.NewNullLogger(), Stderr: p.log,
	})
	conn, err := p.client.Client()
	require.NoError(t, err)
	p.pid = cmd.Process.Pid
	raw, err := conn.Dispense(base.PluginTypeDriver)
	require.NoError(t, err)
	p.DriverPlugin = raw.(drivers.DriverPlugin)
	require.NoError(t, p.SetConfig(pluginConfig(t, cfg)))
	t.Cleanup(func() {
		p.client.Kill()
		for _, bad := range []string{"DATA RACE", "panic:"} {
			if strings.Contains(p.log.String(), bad) {
				t.Errorf("the plugin's log:\n%s", p.log)
			}
		}
	})
	return p
}

func pluginConfig(t *testing.T, cfg driver.Config) *base.Config {
	t.Helper()
	if cfg.Command == "" {
		cfg.Command = "vllm"
	}
	var data []byte
	require.NoError(t, base.MsgPackEncode(&data, &cfg))
	return &base.Config{PluginConfig: data}
}

// kill ends the plugin without a chance to clean up.
func (p *pluginProcess) kill() {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(p.pid, syscall.SIGKILL))
	require.Eventually(p.t, p.client.Exited, soon, often)
}

// files counts the plugin's open files.
func (p *pluginProcess) files() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	require.NoError(p.t, err)
	return len(entries)
}

// goroutines counts the plugin's goroutines; the dump says which they are.
func (p *pluginProcess) goroutines() (n int, dump string) {
	_ = os.Remove(p.dump)
	require.NoError(p.t, syscall.Kill(p.pid, syscall.SIGUSR2))
	require.Eventually(p.t, func() bool {
		b, err := os.ReadFile(p.dump)
		dump = string(b)
		return err == nil
	}, soon, often)
	total, _, _ := strings.Cut(strings.TrimPrefix(dump, "goroutine profile: total "), "\n")
	n, err := strconv.Atoi(total)
	require.NoError(p.t, err, dump)
	return n, dump
}
