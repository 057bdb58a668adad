//go:build !race

package socket

// watched is whether the race detector runs; it does not.
const watched = false
