// Package strategy is the autoscaler strategy "vllm-pd": it turns the points
// of one signal into a count of instances.
//
// The decision is one pure function, Decide. Plugin wraps it for the
// autoscaler: it keeps no state between calls, so that a failover of the
// autoscaler loses nothing, and starts no goroutine.
package strategy
