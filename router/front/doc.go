// Package front is where clients connect: a listener that a second router can
// share, and TLS certificates that are read again when their files change.
// It starts no goroutine.
package front
