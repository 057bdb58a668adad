// Package demo does what a newcomer would do by hand on a development
// cluster: run a job, watch its instances come up, send one chat completion
// through the router, and say what served it and how long each part took.
//
// It starts no goroutine of its own.
package demo
