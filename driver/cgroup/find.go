package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Dirs are the directories of a task's cgroups. An empty one is not there.
type Dirs struct {
	Version int // 0: the node has none for the task
	// On version 2 these are one and the same.
	Memory, CPU, CPUSet, Freezer string
	// Shared are processes of other tasks in it too (version 2): it can be
	// joined, but its limits are not this task's to set.
	Shared bool
}

// Find says where the cgroups of a task are. Nomad tells a driver one
// directory only: on version 2 that is the task's, on version 1 its cpuset
// (PARENT/share, or PARENT/reserve/SCOPE with cores of its own), and the rest
// have its scope, ALLOC.TASK, below the same parent.
func Find(cpuset, scope string) Dirs {
	if cpuset == "" {
		return Dirs{}
	}
	if exists(filepath.Join(cpuset, "cgroup.controllers")) || exists(filepath.Join(cpuset, "cgroup.kill")) {
		return Dirs{
			Version: 2, Memory: cpuset, CPU: cpuset, CPUSet: cpuset, Freezer: cpuset,
			Shared: !strings.HasPrefix(filepath.Base(cpuset), scope),
		}
	}
	root, rest, ok := strings.Cut(cpuset, "/cpuset/")
	if !ok {
		return Dirs{}
	}
	parent, _, _ := strings.Cut(rest, "/reserve/")
	parent = strings.TrimSuffix(parent, "/share")
	d := Dirs{Version: 1}
	for controller, dir := range map[string]*string{"memory": &d.Memory, "cpu": &d.CPU, "freezer": &d.Freezer} {
		*dir = there(filepath.Join(root, controller, parent, scope))
	}
	d.CPUSet = there(cpuset)
	if d == (Dirs{Version: 1}) {
		return Dirs{}
	}
	return d
}

// Own is the directory that holds this task's processes and nobody else's;
// empty: there is none.
func (d Dirs) Own() string {
	if d.Shared {
		return ""
	}
	return d.Freezer
}

// Join lists the directories that a process must move itself into. On version
// 2 there is none: the process is born inside.
func (d Dirs) Join() []string {
	if d.Version != 1 {
		return nil
	}
	return slices.DeleteFunc([]string{d.CPUSet, d.Freezer, d.Memory, d.CPU}, func(s string) bool { return s == "" })
}

// Holding returns the directories without those that the process is not in: a
// limit or a count there would not be the task's.
func (d Dirs) Holding(pid int) Dirs {
	for _, dir := range []*string{&d.Memory, &d.CPU, &d.CPUSet, &d.Freezer} {
		if *dir != "" && !slices.Contains(processes(*dir), pid) {
			*dir = ""
		}
	}
	return d
}

// Empty reports whether nothing runs in the task's own directories any more, a
// process that is only half gone included: until then they cannot be removed.
func (d Dirs) Empty() bool {
	if d.Version == 2 {
		return d.Shared || table(d.Freezer, "cgroup.events")["populated"] == 0
	}
	for _, dir := range []string{d.Memory, d.CPU, d.Freezer} {
		if dir == "" {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, "tasks")); err == nil && len(b) > 0 {
			return false
		}
	}
	return true
}

func processes(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func there(dir string) string {
	if exists(filepath.Join(dir, "cgroup.procs")) {
		return dir
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
