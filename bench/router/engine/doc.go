// Package engine is the mock prefill and decode between which routers are
// measured: no thinking time, no HTTP library, and strict, so that a router
// that gets the protocol wrong cannot look cheap. It runs as a process of its
// own and answers commands on its standard input.
//
// Goroutines: one accepts for each listener, one serves each connection until
// it ends, one speaks for all streams that were held, and the caller's reads
// commands. They share the ledger of handoffs and the counters, which are
// atomic; a held stream belongs to the choir until it has ended.
package engine
