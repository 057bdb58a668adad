//go:build vllm

package vllm

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

// capturedDir holds what real vLLM said in each of the cases below; -record
// writes it anew.
const capturedDir = "../../driver/enginelog/testdata/captured"

// failing is one way to make real vLLM fail without a GPU.
type failing struct {
	// row is the failure as package enginelog knows it.
	row string
	// variant tells captures of one row apart; empty: the only one.
	variant string
	model   string // "": the installed one
	args    []string
	env     []string
	// taken is the port ("http" or "side") that somebody else listens on.
	taken string
	// stays: vLLM does not end of it; the line must be a warning.
	stays bool
	// kill makes the engine's core die by SIGKILL once it serves.
	kill bool
}

func nixlArgs() []string {
	return []string{"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_buffer_device":"cpu"}`}
}

func connector(name, role string) []string {
	return []string{"--kv-transfer-config", `{"kv_connector":"` + name + `","kv_role":"` + role + `"}`}
}

func failures(t *testing.T) []failing {
	return []failing{
		{row: "port-taken", taken: "http"},
		{row: "side-channel-taken", args: nixlArgs(), taken: "side", stays: true},
		{row: "side-channel-host", variant: "unresolved", args: nixlArgs(), env: []string{"VLLM_NIXL_SIDE_CHANNEL_HOST=no-such-host.invalid"}, stays: true},
		{row: "side-channel-host", variant: "not-ours", args: nixlArgs(), env: []string{"VLLM_NIXL_SIDE_CHANNEL_HOST=192.0.2.1"}, stays: true},
		{row: "host-unresolved", args: []string{"--host", "no-such-host.invalid"}},
		{row: "kv-cache-too-small", args: []string{"--kv-cache-memory-bytes", "1000000"}},
		{row: "context-too-long", args: []string{"--max-model-len", "200000"}},
		{row: "host-memory", args: []string{"--kv-cache-memory-bytes", "900000000000"}},
		{row: "model-missing", model: "/srv/models/none"},
		{row: "model-offline", model: "meta-llama/Llama-3.1-8B-Instruct"},
		{row: "remote-code", model: remoteModel(t)},
		{row: "nixl-missing", args: nixlArgs(), env: []string{"PYTHONPATH=" + without(t, "nixl")}},
		{row: "lmcache-missing", args: connector("LMCacheConnectorV1", "kv_both"), env: []string{"PYTHONPATH=" + without(t, "lmcache")}},
		{row: "mooncake-missing", args: connector("MooncakeConnector", "kv_producer"), env: []string{"PYTHONPATH=" + without(t, "mooncake")}},
		{row: "connector-unknown", args: connector("NoSuchConnector", "kv_both")},
		{row: "bad-argument", args: []string{"--no-such-flag"}},
		{row: "engine-died", kill: true},
	}
}

// without is a directory in which a module is there and cannot be imported.
func without(t *testing.T, module string) string {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, module), 0o755))
	text := "raise ModuleNotFoundError(\"No module named '" + module + "'\", name='" + module + "')\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, module, "__init__.py"), []byte(text), 0o644))
	return dir
}

// remoteModel is a model whose configuration is code of its own.
func remoteModel(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"),
		[]byte(`{"model_type":"own","architectures":["OwnModel"],"auto_map":{"AutoConfig":"own.OwnConfig"}}`), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.py"), nil, 0o644))
	return dir
}

// TestFailures_areKnownByWhatRealVLLMSays makes vLLM fail and asks package
// enginelog why, by its log alone. Two at a time: each loads for ten seconds.
func TestFailures_areKnownByWhatRealVLLMSays(t *testing.T) {
	dir, _ := installed(t)
	slots := make(chan struct{}, 2)
	for _, f := range failures(t) {
		name := f.row
		if f.variant != "" {
			name += "." + f.variant
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			s := f.start(t, dir)
			f.await(t, s)
			log, err := os.ReadFile(s.log)
			require.NoError(t, err)
			require.Equal(t, f.row, explained(string(log)), "%s", s.tail(20))
			if *record {
				text := trimmed(string(log), dir)
				require.Equal(t, f.row, explained(text), "the capture, trimmed, still tells:\n%s", text)
				require.NoError(t, os.MkdirAll(capturedDir, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(capturedDir, name+".log"), []byte(text), 0o644))
			}
		})
	}
}

// start runs vLLM itself, not the launcher, which would mend some of the arguments.
func (f failing) start(t *testing.T, dir string) *server {
	ports := freePorts(t, 2)
	if f.taken != "" {
		port := map[string]int{"http": ports[0], "side": ports[1]}[f.taken]
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
	}
	model := f.model
	if model == "" {
		model = filepath.Join(dir, "model")
	}
	work := t.TempDir()
	argv := append([]string{filepath.Join(dir, "venv/bin/vllm"), "serve", model, "--host", "127.0.0.1", "--port", strconv.Itoa(ports[0]),
		"--dtype", "float32", "--block-size", "32", "--max-model-len", "2048", "--max-num-seqs", "8", "--max-num-batched-tokens", "2048",
		"--kv-cache-memory-bytes", "67108864", "--distributed-executor-backend", "uni", "--enforce-eager"}, f.args...)
	s := &server{name: f.row, url: "http://127.0.0.1:" + strconv.Itoa(ports[0]), log: filepath.Join(work, "log")}
	s.cmd = exec.Command(filepath.Join(dir, "venv/bin/python"), argv...)
	s.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + work, "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "PYTHONHASHSEED=0",
		"OMP_NUM_THREADS=1", "VLLM_CPU_OMP_THREADS_BIND=nobind", "NIXL_PTHR_DELAY_US=5000", "UCX_TLS=tcp,shm,self", "UCX_NET_DEVICES=lo",
		"VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT=" + strconv.Itoa(ports[1]),
	}, f.env...)
	s.start(t)
	return s
}

// failLimit is long for the same reason as startLimit.
const failLimit = startLimit

// await returns when vLLM has ended, or, where it does not, when it has said why it should.
func (f failing) await(t *testing.T, s *server) {
	t.Helper()
	switch {
	case f.stays:
		require.Eventually(t, func() bool { return warned(t, s.log) == f.row }, failLimit, 200*time.Millisecond)
		require.False(t, s.waitExit(3*time.Second), "vLLM ends of it by now: the row need not warn any more")
		return
	case f.kill:
		s.waitHealthy(t, failLimit)
		require.NoError(t, syscall.Kill(coreOf(t, s.cmd.Process.Pid), syscall.SIGKILL))
	}
	require.True(t, s.waitExit(failLimit), "vLLM ends")
	t.Logf("ended after %s with code %d", time.Since(s.started).Round(100*time.Millisecond), s.code.Load())
}

// coreOf finds the engine's core among the server's children.
func coreOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(pid), "-f", "EngineCore").Output()
	require.NoError(t, err)
	core, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err, "one core: %q", out)
	return core
}

func explained(log string) string {
	c := enginelog.NewClues()
	for line := range strings.Lines(log) {
		c.Line(strings.TrimSpace(line), time.Unix(1, 0))
	}
	if f := c.Cause(time.Time{}); f != nil {
		return f.ID
	}
	return ""
}

// warned is the row of the first warning in a log so far.
func warned(t *testing.T, path string) string {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c := enginelog.NewClues()
	for in := bufio.NewScanner(f); in.Scan(); {
		if w := c.Line(strings.TrimSpace(in.Text()), time.Unix(1, 0)); w != nil {
			return w.ID
		}
	}
	return ""
}

const (
	longestLine = 500 // of a line as the supervisor keeps it
	keptLines   = 40
)

// trimmed is the end of a log without the frames of its tracebacks, the lines
// of a healthy start, and this machine's paths.
func trimmed(log, dir string) string {
	home := strings.NewReplacer(dir, "/opt/vllm", os.TempDir(), "/scratch")
	var out []string
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n")
		said := line
		if i := strings.Index(line, "] "); i >= 0 && strings.HasPrefix(line, "(") {
			said = line[i+2:]
		}
		frame := strings.HasPrefix(said, "    ") || strings.HasPrefix(said, "  File ")
		if said == "" || frame || strings.Contains(line, " INFO ") || strings.Contains(line, "checkpoint shards") {
			continue
		}
		line = home.Replace(line)
		out = append(out, line[:min(len(line), longestLine)])
	}
	return strings.Join(out[max(0, len(out)-keptLines):], "\n") + "\n"
}
