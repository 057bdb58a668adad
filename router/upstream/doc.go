// Package upstream speaks HTTP/1.1 to the instances: one connection pool, and
// errors that say whether a request may have been seen. The pool's goroutines
// are net/http's; Close ends the idle ones.
package upstream
