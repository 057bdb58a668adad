// Package shim supervises one vLLM server. Nomad's plugin process comes and
// goes (upgrades, crashes, agent restarts); the engine, minutes of model load
// behind it, must not go with it, and its exit code must not be lost. So the
// driver starts a small process of its own between them: its own executable
// with the argument "shim".
//
// The driver's side is Start and Client. The shim's side is Main:
//
//	driver --- spec on stdin ---> shim --- fork, exec ---> vllm (own session)
//	       <-- report on fd 3 ---      <-- stdout, stderr pipes ---
//	       <-- socket DIR/s, one request a connection -->
//	       <-- DIR/exit.json, written once when everything is gone ---
//
// The shim is a subreaper: whatever the engine forks stays below it, however
// often it is orphaned or starts sessions of its own, and so "the task's
// processes" are exactly the descendants of the shim.
//
// Goroutines of a shim: main waits for the engine and finishes the task; one
// reaper calls wait4; two per log stream (one reads the engine's pipe and
// never blocks, one writes Nomad's fifo and may); one per open connection.
// A shim ends when its record is on disk and every waiting connection has
// been answered.
package shim
