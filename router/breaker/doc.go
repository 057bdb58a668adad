// Package breaker keeps requests away from instances that fail again and
// again, and never from all of them. It starts no goroutine: an instance's
// state changes with what is reported of it and with the time that passes.
package breaker
