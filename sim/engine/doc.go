// Package engine is the simulated inference engine: a continuous-batching
// scheduler over a real pool of KV blocks, prefix caching, leases on the
// prefill's side of a handoff and fetching on the decode's.
//
// Everything mutable belongs to one goroutine, Engine.loop: requests, aborts,
// side-channel calls and finished transfers reach it as functions through one
// channel, and it alone touches the pool and the queues. A forward pass is a
// timer of the loop, so that aborts and new requests are taken while it runs
// and take effect at its end. Besides the loop there is one goroutine for each
// KV fetch and one that sends heartbeats; Close ends and awaits them all.
package engine
