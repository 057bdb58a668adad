//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
)

// rows is a cluster for what an operator does with single tasks. Its engine
// stands in a directory of its own, as a Python environment does, so that it
// can be taken away.
type rows struct {
	*cluster.Cluster
	nomadBinary string
	command     string // of the node's engine
}

func TestDriver(t *testing.T) {
	r := startRows(t)
	id := r.run(t, "testdata/tasks.nomad.hcl", map[string]string{
		"THE_SCRIPT": r.script(t), "THE_SIMULATOR": filepath.Join(os.Getenv("NOMAD_VLLM_BIN"), "vllm-sim"),
	})
	allocs := r.running(t, id, "shell", "dies", "hangs")
	t.Run("a constraint on the engine's version places and refuses", func(t *testing.T) { r.constraints(t) })

	require.NoError(t, os.Rename(r.command, r.command+".away")) // the next look at the node, up to 30 s later, finds nothing
	t.Run("alloc exec has a terminal and the command's exit code", func(t *testing.T) { r.exec(t, allocs["shell"]) })
	t.Run("alloc signal reaches the engine", func(t *testing.T) { r.signal(t, allocs["shell"]) })
	t.Run("an engine that exits with 0 unasked is restarted and explained", func(t *testing.T) { r.restarted(t, allocs["dies"]) })
	t.Run("an engine that hangs in its shutdown is gone by kill_timeout", func(t *testing.T) { r.killed(t, id, allocs["hangs"]) })
	t.Run("a driver without its engine says so and recovers", func(t *testing.T) { r.unhealthy(t) })
}

func startRows(t *testing.T) *rows {
	bin := os.Getenv("NOMAD_VLLM_BIN")
	require.NotEmpty(t, bin, "run `make e2e`: it builds the binaries and sets NOMAD_VLLM_BIN")
	cache, err := agents.CacheDir()
	require.NoError(t, err)
	found := map[string]string{}
	for _, a := range agents.All() {
		f, err := a.Locate(t.Context(), cache)
		require.NoError(t, err, "run `make e2e`: it builds the agents")
		found[a.Name] = f.Path
	}
	env := t.TempDir()
	r := &rows{nomadBinary: found["nomad"], command: filepath.Join(env, "bin", "vllm")}
	for _, dir := range []string{"bin", "lib/python3.12/site-packages/vllm-0.32.0.dist-info"} {
		require.NoError(t, os.MkdirAll(filepath.Join(env, dir), 0o755))
	}
	require.NoError(t, os.Symlink(filepath.Join(bin, "vllm-sim"), r.command))
	r.Cluster, err = cluster.Start(t.Context(), cluster.Config{
		StateDir: stateDir(t), BinDir: bin, EngineCommand: r.command,
		Nomad: found["nomad"], Consul: found["consul"], Autoscaler: found["nomad-autoscaler"],
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			dumpLogs(t, r.Cluster)
		}
		require.NoError(t, r.Stop())
	})
	return r
}

// script is an engine that says which signal it got.
func (r *rows) script(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "engine")
	text := "#!/bin/sh\ntrap 'echo got USR1' USR1\ntrap 'exit 0' TERM\necho up\nwhile :; do sleep 60 & wait $!; done\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	return path
}

// run submits a job file after replacing what stands in capitals.
func (r *rows) run(t *testing.T, file string, replace map[string]string) string {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for from, to := range replace {
		b = bytes.ReplaceAll(b, []byte(from), []byte(to))
	}
	path := filepath.Join(t.TempDir(), "job.nomad.hcl")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	id, err := demo.RunJob(t.Context(), r.nomadBinary, r.Nomad, path, nil)
	require.NoError(t, err)
	return id
}

// running waits until each group has its allocation running and returns them by group.
func (r *rows) running(t *testing.T, job string, groups ...string) map[string]*nomadapi.AllocationListStub {
	t.Helper()
	out := map[string]*nomadapi.AllocationListStub{}
	eventually(t, 30*time.Second, "the tasks run", func() bool {
		list, _, err := r.Nomad.Jobs().Allocations(job, false, nil)
		require.NoError(t, err)
		for _, a := range list {
			if a.ClientStatus == nomadapi.AllocClientStatusRunning {
				out[a.TaskGroup] = a
			}
		}
		return len(out) == len(groups)
	})
	return out
}

// cli runs the nomad command as an operator would.
func (r *rows) cli(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.nomadBinary, args...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+r.NomadAddr(), "TERM=dumb")
	return cmd
}

func (r *rows) constraints(t *testing.T) {
	placed := r.run(t, "testdata/constraint.nomad.hcl", map[string]string{"THE_NAME": "placed", "THE_VERSION": ">= 0.30, < 0.40"})
	refused := r.run(t, "testdata/constraint.nomad.hcl", map[string]string{"THE_NAME": "refused", "THE_VERSION": ">= 0.40"})
	r.running(t, placed, "vllm")
	eventually(t, 20*time.Second, "Nomad says that no node has that version", func() bool {
		failures, err := demo.PlacementFailures(r.Nomad, refused)
		require.NoError(t, err)
		return strings.Contains(strings.Join(failures, " "), "driver.vllm.runtime.default.vllm")
	})
	for _, id := range []string{placed, refused} {
		_, _, err := r.Nomad.Jobs().Deregister(id, true, nil)
		require.NoError(t, err)
	}
}

func (r *rows) exec(t *testing.T, a *nomadapi.AllocationListStub) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := r.cli(ctx, "alloc", "exec", "-task", "vllm", a.ID, "sh", "-c", "test -t 0 || echo no terminal, task $NOMAD_TASK_NAME").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "no terminal, task vllm")

	cmd := r.cli(ctx, "alloc", "exec", "-i", "-t", "-task", "vllm", a.ID, "sh", "-c", "tty; read line; echo said $line; exit 7")
	terminal := onTerminal(t, cmd)
	_, err = io.WriteString(terminal, "hello\n")
	require.NoError(t, err)
	screen := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(terminal) // ends with an error when the last user of the other end has gone
		screen <- string(b)
	}()
	exit := new(exec.ExitError)
	require.ErrorAs(t, cmd.Wait(), &exit)
	text := <-screen
	require.Equal(t, 7, exit.ExitCode(), text)
	require.Regexp(t, `/dev/pts/\d+`, text)
	require.Contains(t, text, "said hello")
}

func (r *rows) signal(t *testing.T, a *nomadapi.AllocationListStub) {
	out, err := r.cli(t.Context(), "alloc", "signal", "-s", "SIGUSR1", a.ID, "vllm").CombinedOutput()
	require.NoError(t, err, "%s", out)
	eventually(t, 10*time.Second, "the engine's log shows the signal", func() bool {
		out, err := r.cli(t.Context(), "alloc", "logs", a.ID, "vllm").CombinedOutput()
		return err == nil && strings.Contains(string(out), "got USR1")
	})
	out, err = r.cli(t.Context(), "alloc", "signal", "-s", "SIGNONE", a.ID, "vllm").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "SIGNONE")
}

// address is where a task's server listens.
func (r *rows) address(t *testing.T, a *nomadapi.AllocationListStub) string {
	full, _, err := r.Nomad.Allocations().Info(a.ID, nil)
	require.NoError(t, err)
	require.NotEmpty(t, full.AllocatedResources.Shared.Ports)
	p := full.AllocatedResources.Shared.Ports[0]
	return "http://" + p.HostIP + ":" + itoa(p.Value)
}

func (r *rows) restarted(t *testing.T, a *nomadapi.AllocationListStub) {
	url := r.address(t, a)
	eventually(t, 10*time.Second, "the server serves", func() bool { return healthy(t.Context(), url) })
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
	require.NoError(t, err)
	closeBody(resp.Body)
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode, "the engine died of it")
	eventually(t, 20*time.Second, "Nomad restarts it, and it serves again", func() bool {
		full, _, err := r.Nomad.Allocations().Info(a.ID, nil)
		require.NoError(t, err)
		return full.TaskStates["vllm"].Restarts == 1 && healthy(t.Context(), url)
	})
	out, err := r.cli(t.Context(), "alloc", "status", a.ID).CombinedOutput()
	require.NoError(t, err)
	t.Logf("%s", out)
	require.Contains(t, string(out), "the engine exited with code 0 though nobody had asked it to stop")
	require.Regexp(t, `Ended unasked after .* \(exit code 0\)`, string(out))
}

// killed stops a server whose client does not leave: as real vLLM, it waits
// for it however long --shutdown-timeout (here 2 s) is over.
func (r *rows) killed(t *testing.T, job string, a *nomadapi.AllocationListStub) {
	const killTimeout, slack = 3 * time.Second, 2 * time.Second
	url := r.address(t, a)
	eventually(t, 10*time.Second, "the server serves", func() bool { return healthy(t.Context(), url) })
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"model":"m","prompt":"x","max_tokens":2000,"ignore_eos":true,"stream":true}`))
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = resp.Body.Read(make([]byte, 1))
	require.NoError(t, err, "it streams")
	engines := r.processes(t, a.ID)
	require.GreaterOrEqual(t, len(engines), 2, "the shim and the engine")

	start := time.Now()
	_, err = r.Nomad.Allocations().Stop(&nomadapi.Allocation{ID: a.ID}, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(r.processes(t, a.ID)) == 0 }, killTimeout+slack+5*time.Second, 50*time.Millisecond)
	took := time.Since(start)
	t.Logf("gone %s after the stop; kill_timeout is %s", took.Round(10*time.Millisecond), killTimeout)
	require.Greater(t, took, 2500*time.Millisecond, "it did hang past its own 2 s")
	require.Less(t, took, killTimeout+slack)
	eventually(t, 10*time.Second, "an event says that it was killed", func() bool {
		full, _, err := r.Nomad.Allocations().Info(a.ID, nil)
		require.NoError(t, err)
		for _, e := range full.TaskStates["vllm"].Events {
			if strings.Contains(e.DisplayMessage, "killed, because it had not ended within kill_timeout") {
				return true
			}
		}
		return false
	})
}

// unhealthy waits for the node to miss its engine, gives it back, and waits
// for the driver to be well.
func (r *rows) unhealthy(t *testing.T) {
	info := func() *nomadapi.DriverInfo {
		nodes, _, err := r.Nomad.Nodes().List(nil)
		require.NoError(t, err)
		require.Len(t, nodes, 1)
		node, _, err := r.Nomad.Nodes().Info(nodes[0].ID, nil)
		require.NoError(t, err)
		return node.Drivers["vllm"]
	}
	eventually(t, 40*time.Second, "the driver misses its engine", func() bool { return !info().Healthy })
	require.Contains(t, info().HealthDescription, r.command)
	require.Contains(t, info().HealthDescription, "no such file")
	t.Log(info().HealthDescription)
	require.NoError(t, os.Rename(r.command+".away", r.command))
	start := time.Now()
	eventually(t, 40*time.Second, "the driver is well again", func() bool { return info().Healthy })
	t.Logf("well %s after the engine was back", time.Since(start).Round(time.Second))
}
