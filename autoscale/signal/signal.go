package signal

import "strings"

// Kind says how a number relates to the count of instances.
type Kind string

const (
	// Sum is a quantity of the whole group: more instances share it. The
	// count that it asks for does not depend on the count that there is, so
	// it is not asked for twice while new instances still load.
	Sum Kind = "sum"
	// Level is what each instance feels on average (a time, a utilisation):
	// more instances lower it. The count that it asks for is relative to the
	// count that there is.
	Level Kind = "level"
)

// Unit is what a number counts.
type Unit string

const (
	Requests Unit = "requests"
	Seconds  Unit = "seconds"
)

// Signal is one number about one group.
type Signal struct {
	Name string // as written in a query
	Kind Kind
	Unit Unit
}

// The signals that the APM answers.
const (
	// QueueDepth is the number of requests that wait for an engine to
	// schedule them, over all usable instances of the group.
	QueueDepth = "queue_depth"
	// RequestsRunning is the number of requests that the group's engines are
	// computing. It tells a busy group without a queue from an idle one.
	RequestsRunning = "requests_running"
	// KVTransferLatency is the mean time of the KV transfers that the group's
	// instances completed within the query window, 0 if there was none. With
	// NIXL the decode side pulls, so it is measured on the decode group.
	KVTransferLatency = "kv_transfer_latency"
)

// All lists every signal.
func All() []Signal {
	return []Signal{
		{Name: QueueDepth, Kind: Sum, Unit: Requests},
		{Name: RequestsRunning, Kind: Sum, Unit: Requests},
		{Name: KVTransferLatency, Kind: Level, Unit: Seconds},
	}
}

// Lookup finds a signal by name.
func Lookup(name string) (Signal, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return Signal{}, false
}

// names lists the signals for messages.
func names() string {
	var all []string
	for _, s := range All() {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}
