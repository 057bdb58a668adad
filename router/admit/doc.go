// Package admit decides who is served now, who waits and who is sent away:
// clients' keys with their limits, and a bounded queue that is fair between
// keys and minds priorities and deadlines.
//
// No goroutine is started. A request waits in its own, and is woken by the one
// that gives a place back.
package admit
