// Package peer knows the routers that are measured: where each is found, how
// it is started in front of the engines, and how it is stopped.
//
// Goroutines: one for each process, which waits for its end.
package peer
