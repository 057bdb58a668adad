package enginelog

import (
	"slices"
	"strings"
	"time"
)

// Failure is one way in which an engine fails, known by a line of its log.
type Failure struct {
	// ID names it, here and as a section of docs/failures-driver.md.
	ID string
	// Match gives it away: a line that has all the parts of one of these.
	Match [][]string
	// What happened, and what to change, as a user would want to read it.
	What, Change string
}

// Failures is the table, causes before their consequences: of all that a log
// gives away, the first row is what is told.
func Failures() []Failure {
	return []Failure{
		{"gpu-memory-taken", [][]string{{"Free memory on device", "less than desired"}}, "the GPU has less free memory than the engine asks for", "see with nvidia-smi who holds it; a prefill that restarted may find its memory held by the decodes of this host, which map it until they restart: set UCX_CUDA_IPC_CACHE=n on both, or lower --gpu-memory-utilization"},
		{"cuda-out-of-memory", [][]string{{"CUDA out of memory"}}, "the GPU ran out of memory", "lower --gpu-memory-utilization, --max-num-seqs or --max-num-batched-tokens, or spread the model with tensor_parallel_size"},
		{"no-memory-for-kv-cache", [][]string{{"No available memory for the cache blocks"}}, "the weights leave no memory for a KV cache", "raise --gpu-memory-utilization, or spread the model with tensor_parallel_size"},
		{"kv-cache-too-small", [][]string{{"larger than the available KV cache memory"}, {"larger than the maximum number of tokens that can be stored in KV cache"}}, "the KV cache does not hold one request of the model's full context", "lower --max-model-len, or raise --gpu-memory-utilization"},
		{"model-gated", [][]string{{"access a gated repo"}, {"Cannot access gated repo"}}, "the model is gated and the task may not read it", "accept its licence on huggingface.co and set HF_TOKEN in the task's environment"},
		{"model-missing", [][]string{{"is not a local folder and is not a valid model identifier"}, {"Repository Not Found for url"}, {"Invalid repository ID or local directory specified"}}, "there is no such model", "check model: a Hugging Face name, or the path of a directory with a config.json on this node; a private one needs HF_TOKEN"},
		{"nixl-missing", [][]string{{"RuntimeError: NIXL is not available"}, {"No module named 'nixl"}}, "the engine's Python cannot import nixl", "install nixl beside vllm, in the environment of the task's command"},
		{"lmcache-missing", [][]string{{"No module named 'lmcache"}}, "the engine's Python cannot import lmcache", "install lmcache beside vllm, in the environment of the task's command"},
		{"mooncake-missing", [][]string{{"RuntimeError: Mooncake is not available"}, {"No module named 'mooncake"}}, "the engine's Python cannot import mooncake", "install mooncake-transfer-engine beside vllm, in the environment of the task's command"},
		{"config-file-unreadable", [][]string{{"FileNotFoundError: ", ".yaml'"}, {"PermissionError: ", ".yaml'"}}, "a configuration file, LMCache's for example, is missing or the task's user may not read it", "check LMCACHE_CONFIG_FILE: the path as the task sees it, readable by the task's user"},
		{"host-unresolved", [][]string{{"socket.gaierror: "}}, "a host name does not resolve on this node", "use an address, or mend the node's DNS; check the port's host network and side_channel_host"},
		{"side-channel-taken", [][]string{{"ZMQError: Address already in use"}}, "the side channel's port is in use", "let Nomad assign it (port \"nixl\" {} without static) and give each engine a label of its own; an engine with data parallelism takes one port a rank, from this one on"},
		{"port-taken", [][]string{{"OSError: [Errno 98]"}, {"error while attempting to bind on address"}}, "the HTTP port is in use", "let Nomad assign it (port \"http\" {} without static), or end what listens there: ss -ltnp shows it"},
		{"engine-died", [][]string{{"EngineDeadError"}, {"EngineCore encountered"}, {"Engine core initialization failed"}}, "the engine's core died under its API server", "look for the first ERROR in the task's log, above the last lines"},
	}
}

// Finding is a failure that a log gave away.
type Finding struct {
	ID   string    `json:"id"`
	Line string    `json:"line"`
	At   time.Time `json:"at"`
}

// Clues collects findings while the log passes; it is as big as the table at
// most. Its zero value is not usable, see NewClues. Not safe for concurrent use.
type Clues struct {
	table []Failure
	found []Finding // by row
}

// NewClues begins with nothing found.
func NewClues() *Clues {
	t := Failures()
	return &Clues{table: t, found: make([]Finding, len(t))}
}

// Line looks at one line of the log.
func (c *Clues) Line(line string, at time.Time) {
	for i, f := range c.table {
		if slices.ContainsFunc(f.Match, func(parts []string) bool { return hasAll(line, parts) }) {
			c.found[i] = Finding{ID: f.ID, Line: line, At: at}
			return
		}
	}
}

func hasAll(line string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(line, p) {
			return false
		}
	}
	return true
}

// Cause is the most telling finding since a time, nil if there is none: an
// engine that has served for hours did not die of an old complaint.
func (c *Clues) Cause(since time.Time) *Finding {
	for _, f := range c.found {
		if f.ID != "" && !f.At.Before(since) {
			return &f
		}
	}
	return nil
}

// Explain finds a row of the table; false: a row of another version.
func Explain(id string) (Failure, bool) {
	t := Failures()
	i := slices.IndexFunc(t, func(f Failure) bool { return f.ID == id })
	if i < 0 {
		return Failure{}, false
	}
	return t[i], true
}
