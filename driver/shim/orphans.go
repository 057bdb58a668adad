package shim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// orphanLimit bounds KillOrphans; a process in the kernel may take long.
const orphanLimit = 10 * time.Second

// KillOrphans kills what a task has left after its shim was killed, and says
// how many processes it was. It goes by evidence only: the task's own cgroup,
// the marker in a process's environment, or descent from (or a session of) the
// very process that the task was. A PID that someone else has now is none.
func KillOrphans(taskID string, task Proc, cgroup string) (int, error) {
	killed := map[Proc]bool{}
	pause := killFirstPause
	for deadline := time.Now().Add(orphanLimit); ; pause = min(2*pause, killMaxPause) {
		left, err := orphans(taskID, task, cgroup)
		if err != nil || len(left) == 0 {
			return len(killed), err
		}
		for _, s := range left {
			killed[s.Proc] = true
			_ = s.Signal(unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			return len(killed), fmt.Errorf("kill: %d processes (%d first) do not die", len(left), left[0].PID)
		}
		time.Sleep(pause)
	}
}

func orphans(taskID string, task Proc, cgroup string) ([]Stat, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	leaderAlive := task.Alive()
	below := map[int]bool{}
	if leaderAlive {
		for _, s := range Descendants(all, task.PID) {
			below[s.PID] = true
		}
	}
	inside := cgroupPIDs(cgroup)
	marker := []byte(EnvMarker + "=" + taskID)
	var out []Stat
	for _, s := range all {
		switch {
		case s.dead() || s.PID == os.Getpid():
		case inside[s.PID],
			leaderAlive && (s.PID == task.PID || below[s.PID] || s.Session == task.PID),
			marked(s.PID, marker):
			out = append(out, s)
		}
	}
	return out, nil
}

// marked reports whether the process was started with the marker. An engine
// that writes its title over its environment no longer shows it.
func marked(pid int, marker []byte) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(kv, marker) {
			return true
		}
	}
	return false
}

func cgroupPIDs(dir string) map[int]bool {
	out := map[int]bool{}
	if dir == "" {
		return out
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return out
	}
	for f := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(f)); err == nil {
			out[pid] = true
		}
	}
	return out
}
