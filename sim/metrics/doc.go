// Package metrics is a small Prometheus registry that prints the families in
// the order in which they were declared, with vLLM's names and labels, and the
// table of those families.
//
// It has no goroutine; every method may be called from any.
package metrics
