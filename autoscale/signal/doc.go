// Package signal is what the autoscaler's two halves agree on: the names of
// the numbers that one group of instances can be scaled by, how such a number
// relates to the count, and how a policy's query names it.
//
// It starts no goroutine and keeps no state.
package signal
