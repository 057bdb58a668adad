// Package http1 reads and writes just enough HTTP/1.1 for the two ends of a
// benchmark: keep-alive, Content-Length, chunked. The ends must cost little
// beside the routers between them, which net/http would not.
// A Conn belongs to one goroutine.
package http1
