// Package trace tells a trace collector how each request went: one span for
// the request and one for each of its legs, of which vLLM's own spans are
// children (W3C Trace Context, https://www.w3.org/TR/trace-context/).
//
// The exporter of package otlptracehttp has a goroutine that sends batches
// until Close. A nil Tracer traces nothing, and costs nothing.
package trace
