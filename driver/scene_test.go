package driver_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// scene is where one row of the fault table plays (docs/faults-driver.md): a
// plugin process, a task with its waiters, and processes that have nothing to
// do with it. However a row goes on, it ends with settles.
type scene struct {
	*pluginProcess
	t          *testing.T
	cfg        driver.Config
	task       *task
	handle     *drivers.TaskHandle
	waiters    []<-chan *drivers.ExitResult
	bystanders []*bystander
	files      int
	routines   int
}

// newScene has the plugin and the task ready; the row starts it.
func newScene(t *testing.T, behaviour string, change ...func(*driver.Config)) *scene {
	t.Helper()
	s := &scene{t: t, task: newTask(t, behaviour)}
	for _, c := range change {
		c(&s.cfg)
	}
	s.bystanders = []*bystander{
		newBystander(t),
		newBystander(t, shim.EnvMarker+"="+s.task.ID+"0", engineEnv+"=bystander"), // a task of nearly that name
	}
	s.plugin()
	return s
}

// plugin gives the scene a plugin, the first or the next one.
func (s *scene) plugin() {
	s.t.Helper()
	s.pluginProcess = startPlugin(s.t, s.cfg)
	ctx, cancel := context.WithCancel(s.t.Context())
	fingerprints, err := s.Fingerprint(ctx) // as an agent does first: it starts what runs for good
	require.NoError(s.t, err)
	<-fingerprints
	cancel()
	require.Eventually(s.t, func() bool { // it is still starting a few
		files, routines := s.files, s.routines
		s.files = s.pluginProcess.files()
		s.routines, _ = s.goroutines()
		return files == s.files && routines == s.routines
	}, soon, 5*often)
}

// start starts the task and waits until its engine says it is ready.
func (s *scene) start() {
	s.t.Helper()
	s.handle = s.task.start(s)
	s.task.said("ready")
}

// recover gives the task to the plugin as Nomad does after a restart.
func (s *scene) recover() {
	s.t.Helper()
	require.NoError(s.t, s.RecoverTask(s.handle))
	s.t.Cleanup(func() { _ = s.DestroyTask(s.task.ID, true) })
}

// restart kills the plugin and recovers the task in another one. Who waited
// at the first must not take its death for the task's.
func (s *scene) restart() {
	s.t.Helper()
	s.kill()
	for _, ch := range s.waiters {
		res := <-ch
		require.ErrorContains(s.t, res.Err, "plugin is shut down")
	}
	s.waiters = nil
	s.plugin()
	s.recover()
}

// wait adds n waiters.
func (s *scene) wait(n int) {
	s.t.Helper()
	for range n {
		ch, err := s.WaitTask(s.t.Context(), s.task.ID)
		require.NoError(s.t, err)
		s.waiters = append(s.waiters, ch)
	}
}

// ending is what Nomad must be told.
type ending struct {
	code, signal int
	err          string // part of it; empty: none
}

// settles is what must hold after every fault: the true exit result has
// reached every waiter once, and nothing is left of the task.
func (s *scene) settles(want ending) {
	s.t.Helper()
	s.wait(1) // who comes late
	for i, ch := range s.waiters {
		var got []*drivers.ExitResult
		for res := range ch {
			got = append(got, res)
		}
		require.Len(s.t, got, 1, "waiter %d", i)
		require.Equal(s.t, want.code, got[0].ExitCode, "%+v", got[0])
		require.Equal(s.t, want.signal, got[0].Signal, "%+v", got[0])
		require.False(s.t, got[0].OOMKilled)
		if want.err == "" {
			require.NoError(s.t, got[0].Err)
		} else {
			require.ErrorContains(s.t, got[0].Err, want.err)
		}
	}
	s.waiters = nil
	st, err := s.InspectTask(s.task.ID)
	require.NoError(s.t, err)
	require.Equal(s.t, drivers.TaskStateExited, st.State)
	require.NoError(s.t, s.DestroyTask(s.task.ID, false))
	s.leavesNothing()
}

// leavesNothing holds once the task is destroyed.
func (s *scene) leavesNothing() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return len(processesOf(s.t, s.task.AllocID)) == 0 }, soon, often,
		"processes are left: %v", processesOf(s.t, s.task.AllocID))
	require.Empty(s.t, stateFiles(s.t, s.cfg, s.task))
	require.Empty(s.t, cgroupsOf(s.task.AllocID))
	for _, b := range s.bystanders {
		b.untouched()
	}
	var dump string
	ok := assert.Eventually(s.t, func() bool {
		var n int
		n, dump = s.goroutines()
		return n <= s.routines && s.pluginProcess.files() <= s.files
	}, soon, 5*often, "the plugin had %d goroutines and %d files, has %d files", s.routines, s.files, s.pluginProcess.files())
	if !ok {
		s.t.Fatal(dump)
	}
}

// processesOf finds what belongs to allocations' tasks: by the marker in
// their environment, and the supervisors by their command lines.
func processesOf(t *testing.T, allocs ...string) (found []string) {
	all, err := shim.Processes()
	require.NoError(t, err)
	for _, p := range all {
		dir := "/proc/" + strconv.Itoa(p.PID)
		env, _ := os.ReadFile(dir + "/environ")
		args, _ := os.ReadFile(dir + "/cmdline")
		if bytes.Contains(env, []byte("TEST_ENGINE=bystander")) || p.State == 'Z' {
			continue
		}
		if slices.ContainsFunc(allocs, func(alloc string) bool {
			return bytes.Contains(env, []byte(shim.EnvMarker+"="+alloc)) || bytes.Contains(args, []byte("\x00"+alloc+"/"))
		}) {
			found = append(found, fmt.Sprintf("%d %s", p.PID, bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// stateFiles lists what the driver has of its own on disk.
func stateFiles(t *testing.T, cfg driver.Config, k *task) (found []string) {
	root := cfg.StateDir
	if root == "" {
		root = filepath.Join(k.AllocDir, ".nomad-driver-vllm")
	}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != root {
			found = append(found, path)
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// cgroupsOf finds cgroups that carry an allocation's name.
func cgroupsOf(alloc string) (found []string) {
	for depth := "*"; len(depth) < 12; depth += "/*" {
		dirs, _ := filepath.Glob("/sys/fs/cgroup/" + depth + alloc + "*")
		found = append(found, dirs...)
	}
	return found
}

// bystander is a process that is none of the driver's business. It notes each
// signal that it gets.
type bystander struct {
	t     *testing.T
	cmd   *exec.Cmd
	notes string
}

func newBystander(t *testing.T, env ...string) *bystander {
	t.Helper()
	b := &bystander{t: t, notes: t.TempDir(), cmd: exec.Command("/proc/self/exe")}
	b.cmd.Env = append(env, engineEnv+"=bystander", "TEST_NOTES="+b.notes)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, b.cmd.Start())
	t.Cleanup(func() { _ = b.cmd.Process.Kill(); _ = b.cmd.Wait() })
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(b.notes, "ready")); return err == nil }, soon, often)
	return b
}

func (b *bystander) untouched() {
	b.t.Helper()
	require.NoError(b.t, syscall.Kill(b.cmd.Process.Pid, 0), "a bystander was killed")
	st, err := shim.ReadStat(b.cmd.Process.Pid)
	require.NoError(b.t, err)
	require.NotContains(b.t, "ZX", string(st.State), "a bystander was killed")
	said, err := os.ReadDir(b.notes)
	require.NoError(b.t, err)
	var names []string
	for _, e := range said {
		names = append(names, e.Name())
	}
	require.Equal(b.t, []string{"ready"}, names, "a bystander was signalled")
}

// stop asks the task to end in order.
func (s *scene) stop() {
	s.t.Helper()
	require.NoError(s.t, s.StopTask(s.task.ID, soon, ""))
}

// shim is the supervisor's PID.
func (s *scene) shim() int { return shimPID(s.t, s, s.task.ID) }

// stateDir is the task's directory, which has the socket and the record.
func (s *scene) stateDir() string {
	s.t.Helper()
	root := s.cfg.StateDir
	if root == "" {
		root = filepath.Join(s.task.AllocDir, ".nomad-driver-vllm")
	}
	return filepath.Join(root, strings.ReplaceAll(s.task.ID, "/", "_"))
}

// waitResult returns one result of the task.
func waitResult(t *testing.T, d drivers.DriverPlugin, id string) *drivers.ExitResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	ch, err := d.WaitTask(ctx, id)
	require.NoError(t, err)
	return <-ch
}
