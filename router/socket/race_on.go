//go:build race

package socket

// watched is whether the race detector runs. It learns what happens before
// what from the system calls that it is told of, so then all are.
const watched = true
