// Package h1 serves HTTP/1.1 over plain TCP on Linux, to the same handlers as
// net/http's server and at a third of its price: no second goroutine reads a
// connection while its request is served, headers and buffers are used again,
// and an answer leaves in one write. TLS, h2 and other systems stay with
// net/http.
//
// One goroutine accepts (the caller of Serve), one serves each connection, and
// one, the watch, waits in epoll for clients that close or reset a connection
// and ends the context of the request that is being served there. A
// connection's goroutine alone touches it, but for that context and for being
// closed. Shutdown waits for them all.
//
// What a handler is given (the request, its header map, the writer) is its own
// until it returns, and another request's afterwards.
package h1
