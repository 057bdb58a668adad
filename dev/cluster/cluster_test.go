package cluster

import (
	"fmt"
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

func TestLeftovers_findsTheClustersProcessesOnly(t *testing.T) {
	dir := t.TempDir()
	spawn := func(env ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.Dir = dir // as an operator's shell or editor may be
		cmd.Env = env
		require.NoError(t, cmd.Start())
		reaped := make(chan struct{})
		go func() { defer close(reaped); _ = cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-reaped })
		return cmd
	}
	spawn("HOME=/")
	spawn(marker + dir + "2")
	ours := spawn("HOME=/", marker+dir)
	left, err := Leftovers(dir)
	require.NoError(t, err)
	require.Equal(t, []string{fmt.Sprintf("%d sleep 60", ours.Process.Pid)}, left)

	require.NoError(t, takeOver(t.Context(), dir, func(string, ...any) {}))
	left, err = Leftovers(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestClaim_emptiesOnlyWhatIsACluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, claim(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o644))
	require.NoError(t, claim(dir))
	require.NoFileExists(t, filepath.Join(dir, "old"))

	models := t.TempDir()
	weights := filepath.Join(models, "weights")
	require.NoError(t, os.WriteFile(weights, nil, 0o644))
	require.ErrorContains(t, claim(models), "not a cluster's")
	require.FileExists(t, weights)
}

func TestOwn_isForOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	release, err := own(dir)
	require.NoError(t, err)
	_, err = own(dir)
	require.ErrorContains(t, err, "another cluster uses it")
	release()
	release, err = own(dir)
	require.NoError(t, err)
	release()
}
