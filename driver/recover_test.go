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

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// state is the driver's state in a task handle, as it is on a client's disk.
// A change of its keys breaks the recovery of running tasks.
type state struct {
	Version int          `codec:"version"`
	Dir     string       `codec:"dir"`
	Cgroup  string       `codec:"cgroup"`
	Started shim.Started `codec:"started"`
}

func TestRecover_findsARunningTaskAgain(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "tree")
	h := k.start(first)
	pid := k.said("ready")
	end()

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	require.NoError(t, d.RecoverTask(h), "again changes nothing")
	t.Cleanup(func() { _ = d.DestroyTask(k.ID, true) })
	s, err := d.InspectTask(k.ID)
	require.NoError(t, err)
	require.Equal(t, drivers.TaskStateRunning, s.State)
	res, err := d.ExecTask(k.ID, []string{"echo", "still here"}, soon)
	require.NoError(t, err)
	require.Equal(t, "still here\n", string(res.Stdout))

	require.NoError(t, d.StopTask(k.ID, soon, ""))
	require.True(t, k.wait(d).Successful())
	gone(t, pid, k.said("child"), k.said("orphan"))
	require.NoError(t, d.DestroyTask(k.ID, false))
}

func TestRecover_tellsTheExitCodeOfATaskThatEndedMeanwhile(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "exit:42")
	h := k.start(first)
	shim := shimPID(t, first, k.ID)
	end()
	gone(t, shim)

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	require.Equal(t, 42, k.wait(d).ExitCode)
	require.NoError(t, d.RecoverTask(h), "recovering a finished task is not an error")
	require.NoError(t, d.DestroyTask(k.ID, false))
}

func TestRecover_staleProcessIDsAreNeverSignalled(t *testing.T) {
	// A bystander has the PIDs that the task had.
	bystander := exec.Command("sleep", "60")
	bystander.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, bystander.Start())
	t.Cleanup(func() { _ = bystander.Process.Kill(); _ = bystander.Wait() })
	pid := bystander.Process.Pid
	real, err := shim.ReadStat(pid)
	require.NoError(t, err)
	boot, err := shim.BootID()
	require.NoError(t, err)

	for name, started := range map[string]shim.Started{
		"another process of that PID": {Shim: shim.Proc{PID: pid, Start: real.Start - 1}, Task: shim.Proc{PID: pid, Start: real.Start - 1}, Boot: boot},
		"another boot":                {Shim: real.Proc, Task: real.Proc, Boot: "00000000-0000-4000-8000-000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, driver.Config{})
			k := newTask(t, "serve")
			h := drivers.NewTaskHandle(1)
			h.Config, h.State = k.TaskConfig, drivers.TaskStateRunning
			require.NoError(t, h.SetDriverState(&state{Version: 1, Dir: filepath.Join(t.TempDir(), strings.ReplaceAll(k.ID, "/", "_")), Started: started}))
			require.NoError(t, d.RecoverTask(h))
			require.ErrorContains(t, k.wait(d).Err, map[bool]string{
				true: "the machine was restarted while the task ran", false: "supervisor (process " + strconv.Itoa(pid) + ") was killed",
			}[name == "another boot"])
			require.NoError(t, d.StopTask(k.ID, 0, ""))
			require.NoError(t, d.DestroyTask(k.ID, true))
			require.NoError(t, syscall.Kill(pid, 0), "the bystander lives")
		})
	}
}

func TestRecover_asksTheShimWhenTheStateIsUnreadable(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "serve")
	h := k.start(first)
	pid := k.said("ready")
	end()
	h.DriverState = h.DriverState[:len(h.DriverState)/2]

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	require.NoError(t, d.DestroyTask(k.ID, true))
	gone(t, pid)
}

func TestRecover_refusesAStateOfWhichNothingIsLeft(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	h := drivers.NewTaskHandle(1)
	h.Config = k.TaskConfig
	require.NoError(t, h.SetDriverState(&state{Version: 99}))
	require.ErrorContains(t, d.RecoverTask(h), "state has version 99: this driver reads version 1")
	require.NoError(t, h.SetDriverState(&state{Version: 1, Dir: "/"}))
	require.ErrorContains(t, d.RecoverTask(h), `state has directory "/": not that of task `+k.ID)
	require.NoError(t, h.SetDriverState(&state{Version: 1, Dir: "/x/" + strings.ReplaceAll(k.ID, "/", "_")}))
	require.ErrorContains(t, d.RecoverTask(h), "state lacks a process or a boot id")
	require.NoError(t, d.DestroyTask(k.ID, true), "Nomad's next step")
}

func TestRecover_settlesATaskWhoseShimWasKilledMeanwhile(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "tree")
	h := k.start(first)
	pids := []int{k.said("ready"), k.said("child"), k.said("orphan")}
	sp := shimPID(t, first, k.ID)
	end()
	require.NoError(t, syscall.Kill(sp, syscall.SIGKILL))
	gone(t, sp)

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	require.ErrorContains(t, k.wait(d).Err, "supervisor")
	gone(t, pids...)
}

func TestRecover_halfWrittenRecordIsNoRecord(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	k := newTask(t, "exit:42")
	h := k.start(first)
	sp := shimPID(t, first, k.ID)
	end()
	gone(t, sp)
	records, err := filepath.Glob(filepath.Join(k.AllocDir, ".nomad-driver-vllm", "*", "exit.json"))
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.NoError(t, os.WriteFile(records[0], []byte(`{"version":1,"task_`), 0o600))

	d := newDriver(t, driver.Config{})
	require.NoError(t, d.RecoverTask(h))
	require.ErrorContains(t, k.wait(d).Err, "exit code is lost")
}
