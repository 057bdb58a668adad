// Package upstream speaks HTTP/1.1 to the instances: pooled connections,
// requests whose bodies are sent from where they lie, responses that are read
// no faster than they are asked for, and errors that say whether a request may
// have been seen.
//
// It is not net/http's client because of what that costs for each request (two
// goroutines a connection, a copy of every body, headers as maps; the figures
// are in docs/adr/0005-data-path.md), and because a repeated request must be
// this package's decision alone: kv_transfer_params are single use.
//
// A connection belongs to the goroutine that called Do until Close of the
// response, then to its host's pool. No goroutine is started, apart from the
// one that context.AfterFunc starts when a request's context ends before the
// request does, to close its connection, and the one of the timer that closes
// idle connections while there are any.
package upstream
