package cluster

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/stretchr/testify/require"
)

func TestChoosePorts_leavesTakenPortsAndRepeatsNone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	h := &holder{}
	defer h.release()
	got, err := h.take(taken)
	require.NoError(t, err)
	require.NotEqual(t, taken, got)
	again, err := h.take(got)
	require.NoError(t, err)
	require.NotEqual(t, got, again, "a port that was just chosen is not chosen again")

	p, err := choosePorts()
	require.NoError(t, err)
	require.Less(t, p.DynamicMax, 32768, "below the kernel's ephemeral ports")
	require.Less(t, p.DynamicMin, p.DynamicMax)
}

func TestConfigs_areHCLWithTheValuesQuoted(t *testing.T) {
	dir := t.TempDir()
	odd := `/tmp/a "b" ${c} \d`
	v := configValues{Ports: usual, PluginDir: odd, DataDir: odd, Durable: true, EngineCommand: odd, GPUProcDir: odd}
	for _, tmpl := range []*template.Template{consulConfig, nomadConfig, autoscalerConfig} {
		path, err := writeConfig(tmpl, dir, v)
		require.NoError(t, err)
		_, diags := hclparse.NewParser().ParseHCLFile(path)
		require.False(t, diags.HasErrors(), diags.Error())
	}
	b, err := os.ReadFile(filepath.Join(dir, "nomad.hcl"))
	require.NoError(t, err)
	require.Contains(t, string(b), `"/tmp/a \"b\" $${c} \\d"`)
}

func TestProcess_stopKillsWhatIgnoresTheSignal(t *testing.T) {
	p, err := startProcess("deaf", filepath.Join(t.TempDir(), "log"), os.Environ(), "/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1; done`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(tail(p.log, 5), "ready") }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, p.exited())
	p.stop(100 * time.Millisecond)
	<-p.done
	require.ErrorContains(t, p.exited(), "signal: killed")
	p.stop(time.Second) // again: harmless
}

func TestProcess_exitedShowsTheEndOfTheLog(t *testing.T) {
	p, err := startProcess("broken", filepath.Join(t.TempDir(), "log"), os.Environ(), "/bin/sh", "-c", "echo no such port; exit 3")
	require.NoError(t, err)
	<-p.done
	require.ErrorContains(t, p.exited(), "broken ended (exit status 3)")
	require.ErrorContains(t, p.exited(), "no such port")
}

func TestWaitFor_endsWithTheProcess(t *testing.T) {
	p, err := startProcess("short", filepath.Join(t.TempDir(), "log"), os.Environ(), "/bin/sh", "-c", "exit 1")
	require.NoError(t, err)
	err = waitFor(t.Context(), p, time.Minute, "never", func() error { return os.ErrNotExist })
	require.ErrorContains(t, err, "short ended (exit status 1)")
}

func TestLeftovers_findsProcessesOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	left, err := Leftovers(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Contains(t, left[0], "sleep 60")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	left, err = Leftovers(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
