// Package telemetry sends the router's metrics on to statsd and statsite, by
// the sinks of HashiCorp's tools. It reads what Prometheus would scrape, every
// 10 s, so that a request costs nothing more (docs/adr/0006-router-metrics.md).
//
// Goroutines: the caller's, in Run, and one of go-metrics for each address,
// which ends when Run does.
package telemetry
