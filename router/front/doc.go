// Package front is where clients connect: a listener that one router
// hands to the next, and TLS certificates that are read again when their files
// change. The only goroutine is an offer's, which ends when it is stopped.
package front
