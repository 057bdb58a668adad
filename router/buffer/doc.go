// Package buffer lends byte slices by size class, so that a request's body and
// an answer cost no garbage. It starts no goroutine. Whoever gets a Buffer
// owns it until Free, after which its bytes are another request's.
package buffer
