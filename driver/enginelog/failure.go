package enginelog

import (
	"fmt"
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
	// Stays is set where the engine goes on after the line, and serves badly or
	// never: that is told at once, since no end will come to explain.
	Stays bool
}

// How a row ends: with the engine, or not.
const (
	ends  = false
	stays = true
)

// Failures is the table, causes before their consequences: of all that a log
// gives away, the first row is what is told.
func Failures() []Failure {
	return []Failure{
		{"no-gpu", [][]string{{"RuntimeError: Failed to infer device type"}, {"No CUDA GPUs are available"}}, "the engine sees no GPU", "reserve one in the task's resources (device \"nvidia/gpu\" {}), since a task without a reservation is shown none; if it has one, see with nvidia-smi whether the node's driver works", ends},
		{"gpu-memory-taken", [][]string{{"Free memory on device", "less than desired"}}, "the GPU has less free memory than the engine asks for", "see with nvidia-smi who holds it; a prefill that restarted may find its memory held by the decodes of this host, which map it until they restart: set UCX_CUDA_IPC_CACHE=n on both, or lower --gpu-memory-utilization", ends},
		{"cuda-out-of-memory", [][]string{{"CUDA out of memory"}}, "the GPU ran out of memory", "lower --gpu-memory-utilization, --max-num-seqs or --max-num-batched-tokens, or spread the model with tensor_parallel_size", ends},
		{"no-memory-for-kv-cache", [][]string{{"No available memory for the cache blocks"}}, "the weights leave no memory for a KV cache", "raise --gpu-memory-utilization, or spread the model with tensor_parallel_size", ends},
		{"kv-cache-too-small", [][]string{{"larger than the available KV cache memory"}, {"larger than the maximum number of tokens that can be stored in KV cache"}}, "the KV cache does not hold one request of the model's full context", "lower --max-model-len, or raise --gpu-memory-utilization", ends},
		{"host-memory", [][]string{{"Available memory on node", "is less than"}, {"DefaultCPUAllocator: can't allocate memory"}}, "the node has less free memory than the engine asks for", "lower what the engine keeps in the node's memory (--kv-cache-memory-bytes or --gpu-memory-utilization of a CPU build, offloading.cpu_size), or end what else uses it", ends},
		{"context-too-long", [][]string{{"is greater than the derived max_model_len"}}, "--max-model-len is longer than the context that the model was made for", "lower --max-model-len", ends},
		{"model-gated", [][]string{{"access a gated repo"}, {"Cannot access gated repo"}}, "the model is gated and the task may not read it", "accept its licence on huggingface.co and set HF_TOKEN in the task's environment", ends},
		{"model-missing", [][]string{{"is not a local folder and is not a valid model identifier"}, {"Repository Not Found for url"}, {"Invalid repository ID or local directory specified"}, {"HFValidationError: Repo id must be"}}, "there is no such model", "check model: a Hugging Face name, or the path of a directory with a config.json on this node; a private one needs HF_TOKEN", ends},
		{"model-offline", [][]string{{"Cannot find an appropriate cached snapshot folder", "outgoing traffic has been disabled"}, {"Cannot reach https", "offline mode is enabled"}}, "the model is not on this node, and HF_HUB_OFFLINE keeps the engine from fetching it", "put it into the cache of HF_HOME beforehand, give model the path of a directory on this node, or take HF_HUB_OFFLINE out of env", ends},
		{"remote-code", [][]string{{"contains custom code which must be executed"}, {"pass the argument `trust_remote_code=True`"}}, "the model brings Python code of its own, which vLLM runs only when told to trust it", "read that code, then add --trust-remote-code to args", ends},
		{"nixl-missing", [][]string{{"RuntimeError: NIXL is not available"}, {"No module named 'nixl"}}, "the engine's Python cannot import nixl", "install nixl beside vllm, in the environment of the task's command", ends},
		{"lmcache-missing", [][]string{{"No module named 'lmcache"}}, "the engine's Python cannot import lmcache", "install lmcache beside vllm, in the environment of the task's command", ends},
		{"lmcache-degraded", [][]string{{"Failed to initialize LMCacheManager components"}, {"System will operate in degraded mode (recompute)"}}, "LMCache did not start inside the engine, which serves without it: nothing is kept or handed over, and every prompt is computed here", "see the LMCache ERROR in the task's log; without a GPU it cannot start (MultiConnector with LMCacheMPConnector works)", stays},
		{"mooncake-missing", [][]string{{"RuntimeError: Mooncake is not available"}, {"No module named 'mooncake"}}, "the engine's Python cannot import mooncake", "install mooncake-transfer-engine beside vllm, in the environment of the task's command", ends},
		{"connector-unknown", [][]string{{"Unsupported connector type: "}}, "this vLLM has no connector of that name", "check kv_transfer.connector against the engine's version; a connector of your own needs module_path", ends},
		{"bad-argument", [][]string{{"vllm: error: "}, {"error: unrecognized arguments: "}}, "the engine does not take these arguments", "check args against this version: vllm serve --help=all", ends},
		{"config-file-unreadable", [][]string{{"FileNotFoundError: ", ".yaml'"}, {"PermissionError: ", ".yaml'"}}, "a configuration file, LMCache's for example, is missing or the task's user may not read it", "check LMCACHE_CONFIG_FILE: the path as the task sees it, readable by the task's user", ends},
		{"host-unresolved", [][]string{{"socket.gaierror: "}}, "a host name does not resolve on this node", "use an address, or mend the node's DNS; check the port's host network and side_channel_host", ends},
		{"side-channel-taken", [][]string{{"ZMQError: Address already in use"}}, "the side channel's port is in use, so no peer can fetch KV from this server, and it never gets healthy", "let Nomad assign it (port \"nixl\" {} without static) and give each engine a label of its own; an engine with data parallelism takes one port a rank, from this one on", stays},
		{"side-channel-host", [][]string{{"ZMQError: No such device"}, {"ZMQError: Cannot assign requested address"}}, "the side channel cannot listen on its host, which does not resolve or is no address of this node, so no peer can fetch KV from this server, and it never gets healthy", "leave side_channel_host out (the port's address is used), or give an address of this node that the others reach", stays},
		{"port-taken", [][]string{{"OSError: [Errno 98]"}, {"error while attempting to bind on address"}}, "the HTTP port is in use", "let Nomad assign it (port \"http\" {} without static), or end what listens there: ss -ltnp shows it", ends},
		{"engine-died", [][]string{{"EngineDeadError"}, {"EngineCore encountered"}, {"Engine core initialization failed"}}, "the engine's core died under its API server", "look for the first ERROR in the task's log, above the last lines", ends},
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

// Line looks at one line of the log. It returns the row of a failure that the
// engine does not end of, the first time it is seen.
func (c *Clues) Line(line string, at time.Time) *Failure {
	for i, f := range c.table {
		if slices.ContainsFunc(f.Match, func(parts []string) bool { return hasAll(line, parts) }) {
			first := c.found[i].ID == ""
			c.found[i] = Finding{ID: f.ID, Line: line, At: at}
			if f.Stays && first {
				return &f
			}
			return nil
		}
	}
	return nil
}

// Advice is what happened, what to change and how it was seen, in one sentence each.
func (f Failure) Advice(line string) string {
	return fmt.Sprintf("%s. To do: %s. (%s in docs/failures-driver.md.) The log says: %s",
		f.What, f.Change, f.ID, strings.ToValidUTF8(line[:min(len(line), adviceLine)], "?"))
}

// adviceLine is how much of a line is shown, in bytes.
const adviceLine = 300

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
