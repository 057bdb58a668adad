package driver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// unreadable are states that a plugin may find in place of its own.
func unreadable(t *testing.T, good []byte) map[string][]byte {
	var future drivers.TaskHandle
	require.NoError(t, future.SetDriverState(&state{Version: 2, Dir: "/elsewhere"}))
	return map[string][]byte{
		"none":                 nil,
		"half of it":           good[:len(good)/2],
		"garbage":              []byte("\xc1\xff\x00{}"),
		"zeros":                make([]byte, len(good)),
		"of a version to come": future.DriverState,
	}
}

func TestFault_stateUnreadable(t *testing.T) {
	for name := range unreadable(t, make([]byte, 2)) {
		broken := func(s *scene) {
			s.handle.DriverState = unreadable(t, s.handle.DriverState)[name]
		}
		t.Run(name+", while it runs", func(t *testing.T) {
			s := newScene(t, "tree")
			s.start()
			broken(s)
			s.restart()
			st, err := s.InspectTask(s.task.ID)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(s.task.said("ready")), st.DriverAttributes["pid"])
			s.stop()
			s.settles(ending{})
		})
		t.Run(name+", after its end", func(t *testing.T) {
			s := newScene(t, "exit-on-usr1:42")
			s.start()
			broken(s)
			supervisor := s.shim()
			s.kill()
			require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
			gone(t, supervisor)
			s.plugin()
			s.recover()
			s.settles(ending{code: 42})
		})
	}
	t.Run("and the shim is dead", func(t *testing.T) {
		s := newScene(t, "tree")
		s.start()
		supervisor := s.shim()
		s.kill()
		require.NoError(t, syscall.Kill(supervisor, syscall.SIGKILL))
		gone(t, supervisor)
		s.handle.DriverState = nil
		s.plugin()
		s.recover()
		s.settles(ending{code: 1, err: "its exit code is lost and 3 processes that it left were killed"})
	})
	t.Run("and nothing is left of the task", func(t *testing.T) {
		s := newScene(t, "serve")
		h := drivers.NewTaskHandle(1)
		h.Config = s.task.TaskConfig
		require.ErrorContains(t, s.RecoverTask(h), "recover task "+s.task.ID+": decode state")
		require.NoError(t, s.DestroyTask(s.task.ID, true), "Nomad's next step")
		s.leavesNothing()
	})
}

func TestFault_recordUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"half of it":      `{"version":1,"task_`,
		"empty":           ``,
		"garbage":         "\x00\x01\x02",
		"of another task": `{"version":1,"task_id":"someone","exit_code":0,"stop_asked":true}`,
		"of a version":    `{"version":99,"task_id":"ID","exit_code":0,"stop_asked":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "exit-on-usr1:42")
			s.start()
			supervisor := s.shim()
			s.kill()
			require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
			gone(t, supervisor)
			text := strings.ReplaceAll(text, "ID", s.task.ID)
			require.NoError(t, os.WriteFile(filepath.Join(s.stateDir(), "exit.json"), []byte(text), 0o600))
			s.plugin()
			s.recover()
			s.settles(ending{code: 1, err: "its exit code is lost and 0 processes"})
		})
	}
}

// The shim is told its task by a pipe; the plugin may die in the middle.
func TestFault_taskForTheShimHalfWritten(t *testing.T) {
	for name, spec := range map[string]string{"nothing": "", "half": `{"task_id":"a/b/c","dir":"`, "garbage": "\xff\xff"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", shim.Arg, "half-written")
			cmd.Stdin = strings.NewReader(spec)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			cmd.ExtraFiles = []*os.File{w}
			require.NoError(t, cmd.Start())
			w.Close()
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Wait(), &exit)
			require.Equal(t, 1, exit.ExitCode())
			said := make([]byte, 200)
			n, _ := r.Read(said)
			require.Contains(t, string(said[:n]), "read task: ")
		})
	}
}

// Nobody hears that the engine has started: the plugin is dead.
func TestFault_pluginDeadWhenTheEngineHasStarted(t *testing.T) {
	k := newTask(t, "tree")
	exe, err := os.Executable()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	cmd := exec.Command("/proc/self/exe", shim.Arg, k.ID)
	cmd.Stdin = strings.NewReader(`{"task_id":"` + k.ID + `","dir":"` + dir + `","path":"` + exe + `","argv":["` + exe + `"],
		"env":["` + engineEnv + `=tree","TEST_NOTES=` + k.notes + `","` + shim.EnvMarker + `=` + k.ID + `"],
		"work_dir":"` + k.TaskDir().Dir + `","stdout":"` + k.StdoutPath + `","stderr":"` + k.StderrPath + `"}`)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	r.Close()
	cmd.ExtraFiles = []*os.File{w}
	require.NoError(t, cmd.Start())
	w.Close()
	require.Error(t, cmd.Wait())
	require.Empty(t, processesOf(t, k.AllocID))
	require.NoDirExists(t, dir)
}

// Somebody else has the PIDs by now: the kernel gives them out anew.
func TestFault_processIDsReused(t *testing.T) {
	t.Run("of a task that has ended", func(t *testing.T) {
		s := newScene(t, "exit-on-usr1:42")
		s.start()
		pid, supervisor := s.task.said("ready"), s.shim()
		s.kill()
		require.NoError(t, syscall.Kill(pid, syscall.SIGUSR1))
		gone(t, pid, supervisor)
		s.bystanders = append(s.bystanders, reuse(t, pid), reuse(t, supervisor))
		s.plugin()
		s.recover()
		require.NoError(t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		s.settles(ending{code: 42})
	})
	t.Run("of a task whose shim was killed", func(t *testing.T) {
		s := newScene(t, "serve")
		s.start()
		pid, supervisor := s.task.said("ready"), s.shim()
		s.kill()
		for _, p := range []int{supervisor, pid} {
			require.NoError(t, syscall.Kill(p, syscall.SIGKILL))
		}
		gone(t, pid, supervisor)
		s.bystanders = append(s.bystanders, reuse(t, pid), reuse(t, supervisor))
		s.plugin()
		s.recover()
		require.NoError(t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		s.settles(ending{code: 1, err: "its exit code is lost and 0 processes"})
	})
	t.Run("and only the state on disk knew them", func(t *testing.T) {
		// As above, but without help from the kernel: a state that points at
		// processes which were there before the task.
		s := newScene(t, "serve")
		other, err := shim.ReadStat(s.bystanders[0].cmd.Process.Pid)
		require.NoError(t, err)
		boot, err := shim.BootID()
		require.NoError(t, err)
		before := shim.Proc{PID: other.PID, Start: other.Start - 1}
		for _, started := range []shim.Started{
			{Shim: before, Task: before, Boot: boot},
			{Shim: other.Proc, Task: other.Proc, Boot: "00000000-0000-4000-8000-000000000000"},
		} {
			h := drivers.NewTaskHandle(1)
			h.Config, h.State = s.task.TaskConfig, drivers.TaskStateRunning
			require.NoError(t, h.SetDriverState(&state{Version: 1, Dir: s.stateDir(), Started: started}))
			require.NoError(t, s.RecoverTask(h))
			require.Error(t, waitResult(t, s, s.task.ID).Err, "the task is lost, and that is said")
			require.NoError(t, s.StopTask(s.task.ID, 0, ""))
			require.NoError(t, s.DestroyTask(s.task.ID, true))
		}
		s.leavesNothing()
	})
}

// reuse starts a bystander under a PID that was somebody else's. Only root may
// tell the kernel which PID comes next; without it the bystander has another
// one, and the row's last case must do.
func reuse(t *testing.T, pid int) *bystander {
	t.Helper()
	const next = "/proc/sys/kernel/ns_last_pid"
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, soon, often, "nobody reaps process %d", pid)
	for range 200 { // others on this machine fork too
		if os.WriteFile(next, []byte(strconv.Itoa(pid-1)), 0) != nil {
			return newBystander(t)
		}
		b := newBystander(t)
		if b.cmd.Process.Pid == pid {
			return b
		}
		require.NoError(t, b.cmd.Process.Kill())
		_ = b.cmd.Wait()
	}
	t.Fatalf("PID %d never came round", pid)
	return nil
}
