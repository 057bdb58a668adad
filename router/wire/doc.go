// Package wire is what of HTTP/1.1 requests and responses have in common: names
// and values, lengths, and chunked bodies. It is strict: what two readers could
// understand differently is refused, because on a connection that is used again
// the difference is somebody else's message. It keeps no state and starts no
// goroutine.
package wire
