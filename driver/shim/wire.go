package shim

import "time"

// Files in a task's directory.
const (
	socketFile = "s"
	recordFile = "exit.json"
	logFile    = "shim.log" // what a crashing shim says; empty otherwise
)

// EnvMarker is set, to the task's ID, in the environment of everything that
// the shim starts: evidence that a process is the task's when the shim itself
// is gone.
const EnvMarker = "NOMAD_DRIVER_VLLM_TASK"

// Credential is who the task runs as.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Spec is all that a shim knows of its task. It travels over a pipe and is
// never written down, because the environment holds secrets.
type Spec struct {
	TaskID  string   `json:"task_id"`
	Dir     string   `json:"dir"`  // the driver's own directory for this task; it exists
	Path    string   `json:"path"` // of the executable
	Argv    []string `json:"argv"`
	Env     []string `json:"env"`
	WorkDir string   `json:"work_dir"`
	// User is nil to run as whoever runs the driver.
	User   *Credential `json:"user,omitempty"`
	Stdout string      `json:"stdout"` // usually a fifo that Nomad reads
	Stderr string      `json:"stderr"`
	// Cgroup is the task's cgroup v2 directory; empty: none. The driver
	// starts the shim inside it.
	Cgroup string `json:"cgroup,omitempty"`
	// JoinV1 are cgroup v1 directories that the shim is moved into before it
	// starts anything.
	JoinV1 []string `json:"join_v1,omitempty"`
	// Memory is the directory that counts the task's memory; empty: none.
	Memory string `json:"memory,omitempty"`
	// Rlimits and OOMScore are what the engine and every exec is born with.
	Rlimits  []Rlimit `json:"rlimits,omitempty"`
	OOMScore int      `json:"oom_score,omitempty"`
}

// Started says which processes a task is made of. It is what must be kept to
// find them again.
type Started struct {
	Shim Proc      `codec:"shim" json:"shim"`
	Task Proc      `codec:"task" json:"task"`
	Boot string    `codec:"boot" json:"boot"`
	At   time.Time `codec:"at" json:"at"`
}

// report is the shim's one message on fd 3.
type report struct {
	Started Started `json:"started"`
	Error   string  `json:"error,omitempty"`
}

// request is what a connection begins with, one JSON line.
type request struct {
	Op     string        `json:"op"`
	Signal int           `json:"signal,omitempty"`
	Grace  time.Duration `json:"grace,omitempty"`
	Argv   []string      `json:"argv,omitempty"`
	TTY    bool          `json:"tty,omitempty"`
	After  int           `json:"after,omitempty"`
}

const (
	opStatus = "status" // -> Started
	opWait   = "wait"   // -> Record, when the task has ended
	opSignal = "signal" // the engine's whole process group
	opStop   = "stop"   // signal, then kill everything after Grace; answers at once
	opNotes  = "notes"  // -> Notes behind After, as soon as there are any; none: the task has ended
	opExec   = "exec"   // run Argv beside the engine with the three files that come along
)

// response is one JSON line.
type response struct {
	Error   string   `json:"error,omitempty"`
	Ended   bool     `json:"ended,omitempty"` // why it could not be done
	Started *Started `json:"started,omitempty"`
	Record  *Record  `json:"record,omitempty"`
	Exit    *Exit    `json:"exit,omitempty"`
	Notes   []Note   `json:"notes,omitempty"`
}

// Exit is how a command ended that ran beside the engine.
type Exit struct {
	Code   int `json:"code"`
	Signal int `json:"signal"`
}
