// Package socket makes reading and writing a TCP connection cheaper for those
// who do it for every token: by system calls that the Go scheduler is not told
// of. Sockets do not block, so it has nothing to do for them; but a router that
// waits for most of a millisecond between two tokens wakes its monitor thread
// with each call that it is told of, which costs more than the call.
//
// It starts no goroutine. One goroutine reads and one writes at a time.
package socket
