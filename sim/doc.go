// Package sim is a strict simulator of vLLM's protocol: what `vllm serve`
// accepts, answers, refuses and dies of, with a real handoff of KV blocks over
// TCP and no GPU. It stands behind the vllm-sim command, and tests start it in
// their own process:
//
//	p, err := sim.Start(ctx, sim.Options{Role: pd.RolePrefill})
//	d, err := sim.Start(ctx, sim.Options{Role: pd.RoleDecode, Faults: "hang@2"})
//	defer d.Close()
//	... http requests to p.URL() and d.URL() ...
//
// Options.Args takes further `vllm serve` flags. Ports are the system's choice.
// Where a real process would end (a fault, a lethal request, Kill), an instance
// closes everything abruptly and its Done channel is closed.
//
// The simulator's own settings are environment variables, so that arguments
// stay vLLM's: VLLM_SIM_PROFILE (fast, h200-llama-8b), VLLM_SIM_FAULTS (see
// package fault), VLLM_SIM_ADMIN=1 (GET and PUT /sim/faults, GET /sim/state),
// VLLM_SIM_LOAD (load time, "0s"), VLLM_SIM_SCALE (10 makes all but loading take
// ten times as long), VLLM_SIM_KV_WIRE_BYTES (bytes sent for each
// token of KV, default 64; metrics report the model's own size), VLLM_SIM_VERSION
// (default 0.32.0; with 0.26.x a streamed completion whose KV could not be loaded
// ends silently, and a drain stops listening at once, as in that version).
//
// An Instance owns the HTTP server's goroutines, its side channel's, its
// engine's and one that ends all of them when the engine dies; Close and Kill
// wait for them.
package sim
