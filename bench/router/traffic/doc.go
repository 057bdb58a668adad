// Package traffic is what the benchmark sends and expects: the cells, the
// requests of each size, and how an engine must answer them. The load
// generator and the mock engines agree on it here, so that an engine can tell
// a request that a router has damaged. Pure; no goroutines.
package traffic
