// Package driver is the Nomad task driver "vllm": it turns a task's config,
// its ports and its reserved devices into a command line and an environment
// for a vLLM server, starts the server under a supervisor (package shim) that
// outlives this process, and answers Nomad's questions about it.
//
// From a task's config to a running engine:
//
//	config.go    HCL <-> structs; what an operator and a job may set
//	runtime.go   the node's engines by name; packages.go: what is in them
//	launch.go    config + ports + devices -> argv + environment (pure)
//	kv_nixl.go   the same for one KV connector (pure; one file per connector)
//	knownbad.go  what is known not to work together (pure; one line a row)
//	devices.go   reserved GPU UUIDs -> CUDA indices
//	start.go     effects: directory, user, cgroup, shim.Start
//	handle.go    one running task
//	recover.go   the same, found again after a restart
//	result.go    how a task ended, in words (failures: package enginelog)
//	story.go     what the engine's log tells -> task events (package enginelog)
//
// Goroutines: the eventer's one; one per task that waits for its record (it
// alone sets the task's result), one that reaps its shim and one that passes
// on what its log tells, until the task ends; one per stream
// that Nomad opened (Fingerprint, TaskStats, WaitTask, exec), which ends with
// that stream's context.
package driver
