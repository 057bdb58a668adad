package telemetry

// Metric is one of the driver's numbers.
type Metric struct {
	Name    string // without the prefix
	Kind    string // Gauge, Counter or Timer
	Label   string // empty: none
	Values  []string
	Meaning string
}

// Kinds of metrics.
const (
	Gauge   = "gauge"
	Counter = "counter"
	Timer   = "timer" // milliseconds
)

// How a task ended.
const (
	Stopped = "stopped" // as asked
	Killed  = "killed"  // as asked, but only when kill_timeout was over
	Failed  = "failed"  // unasked
	OOM     = "oom"     // the kernel killed a part of it for memory
	Lost    = "lost"    // with its supervisor, without an exit code
)

// Why a task did not start.
const (
	Config   = "config"   // a mistake in the job or on the node, which stays
	NotReady = "notready" // something is missing that may come: a device, a file
	Launch   = "launch"   // the system refused a directory, a file or the process
	Other    = "other"
)

const (
	tasks         = "tasks"
	gpus          = "gpus"
	starts        = "starts"
	startFailures = "start_failures"
	startTime     = "start_time"
	readyTime     = "ready_time"
	stopTime      = "stop_time"
	exits         = "exits"
	recoveries    = "recoveries"
	notEnforced   = "not_enforced"
)

// Metrics are all that there are.
func Metrics() []Metric {
	return []Metric{
		{Name: tasks, Kind: Gauge, Meaning: "tasks that run"},
		{Name: gpus, Kind: Gauge, Meaning: "GPUs that they have reserved"},
		{Name: starts, Kind: Counter, Meaning: "engines started"},
		{Name: startFailures, Kind: Counter, Label: "reason", Values: []string{Config, NotReady, Launch, Other}, Meaning: "tasks that did not start"},
		{Name: startTime, Kind: Timer, Meaning: "from Nomad's request to the engine's first instruction"},
		{Name: readyTime, Kind: Timer, Meaning: "from there until the engine serves"},
		{Name: stopTime, Kind: Timer, Meaning: "from Nomad's request until nothing of the task is left"},
		{Name: exits, Kind: Counter, Label: "how", Values: []string{Stopped, Killed, Failed, OOM, Lost}, Meaning: "tasks that ended"},
		{Name: recoveries, Kind: Counter, Label: "result", Values: []string{"ok", "failed"}, Meaning: "tasks found again after a restart of the plugin"},
		{Name: notEnforced, Kind: Counter, Label: "limit", Values: []string{"memory limit", "CPU limit", "CPU shares", "reserved cores"}, Meaning: "limits that a task was started without"},
	}
}
