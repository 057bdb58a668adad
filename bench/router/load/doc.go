// Package load makes the benchmark's requests: closed loops over keep-alive
// connections without pipelining, and many streams open at once.
//
// Goroutines: one for each connection, ended when its function returns.
package load
