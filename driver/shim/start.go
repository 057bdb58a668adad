package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// startLimit bounds the way from fork to the engine's exec. It waits for no
// part of the engine; only a machine in deep trouble takes longer.
const startLimit = 20 * time.Second

// Start runs a shim for the task and returns as soon as the engine's exec has
// succeeded or failed. The shim is this executable started again with Arg, so
// whoever embeds the driver must call Main for it.
func Start(spec Spec) (Started, error) {
	spec.Env = append(slices.Clone(spec.Env), EnvMarker+"="+spec.TaskID)
	line, err := json.Marshal(spec)
	if err != nil {
		return Started{}, fmt.Errorf("encode task: %w", err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return Started{}, fmt.Errorf("open task pipe: %w", err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return Started{}, fmt.Errorf("open report pipe: %w", err)
	}
	defer outR.Close()
	cmd, err := launch(spec, inR, outW)
	outW.Close()
	if err != nil {
		inW.Close()
		return Started{}, err
	}
	// The kernel takes milliseconds for each move, and the shim as many to come
	// up: both at once. It learns what to start only then, so that nothing
	// starts outside; it is not reaped before, so that the PID is its own.
	join(cmd.Process.Pid, spec.JoinV1)
	go func() { _ = cmd.Wait() }() // until the shim ends; if we end first, init reaps it
	go func() {                    // the task may be larger than the pipe
		_, _ = inW.Write(line)
		inW.Close()
	}()
	started, err := readReport(outR)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		// It hangs, or was killed: the engine may be there or not.
		_ = cmd.Process.Kill()
		_, orphanErr := KillOrphans(spec.TaskID, Proc{}, "")
		err = errors.Join(err, orphanErr)
	}
	return started, err
}

// launch starts the shim process: in a session of its own and, where cgroup v2
// offers it, born inside the task's cgroup, so that Nomad finds everything
// that ever came of it.
func launch(spec Spec, in, out *os.File) (*exec.Cmd, error) {
	logs, err := os.OpenFile(filepath.Join(spec.Dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create supervisor's log: %w", err)
	}
	defer logs.Close()
	build := func() *exec.Cmd {
		// /proc/self/exe is this very program, even if its file was replaced.
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{"nomad-driver-vllm", Arg, spec.TaskID}
		cmd.Env = []string{"GOMAXPROCS=2", "GOTRACEBACK=all", EnvMarker + "=" + spec.TaskID}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, logs, logs
		cmd.ExtraFiles = []*os.File{out}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return cmd
	}
	if spec.Cgroup != "" {
		if dir, err := os.Open(spec.Cgroup); err == nil {
			defer dir.Close()
			cmd := build()
			cmd.SysProcAttr.UseCgroupFD = true
			cmd.SysProcAttr.CgroupFD = int(dir.Fd())
			if err := cmd.Start(); err == nil {
				return cmd, nil
			}
			// Not ours to write (no root), or a kernel without clone3: the
			// task runs as well, outside.
		}
	}
	cmd := build()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return cmd, nil
}

// join moves a process into cgroup v1 directories: Nomad's last resort against
// strays. Without it the task runs as well.
func join(pid int, dirs []string) {
	for _, dir := range dirs {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}

func readReport(out *os.File) (Started, error) {
	_ = out.SetReadDeadline(time.Now().Add(startLimit))
	var r report
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		return Started{}, fmt.Errorf("hear from the supervisor: %w", err)
	}
	if r.Error != "" {
		return Started{}, &Refused{Reason: r.Error}
	}
	return r.Started, nil
}
