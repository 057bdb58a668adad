// Package pool decides which instances may serve a request and which of them
// does: pools by model, role and compat over one snapshot, and the least
// loaded of a pool by our own counts of what is in flight.
//
// Table is immutable. Loads is shared by all requests: one lock, held for a
// pick and never across I/O. It starts no goroutine.
package pool
