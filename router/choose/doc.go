// Package choose decides which instance of a pool serves a leg, and whether a
// prompt is worth a handoff at all.
//
// What it goes by: our own counts of what is in flight at each instance, which
// prompts each was sent (an approximate index of its prefix cache), the load
// that vLLM reports with its answers, and weights. A decision is made from one
// reading of all of these under one lock, together with the count that it
// causes, so that two requests that arrive together do not both see the same
// instance idle. Nothing here does I/O and no goroutine is started.
//
// Several routers do not speak to one another. Prompts that no instance is
// known to hold are placed by rendezvous hashing, which all routers compute
// alike; choices by load are blurred at random, so that two routers that read
// the same report do not herd.
package choose
