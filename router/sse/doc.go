// Package sse judges the beginning of a vLLM event stream. It starts no
// goroutine and keeps no state.
package sse
