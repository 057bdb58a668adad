// Package telemetry keeps the driver's own numbers, in the way of HashiCorp's
// tools: in memory for a minute, dumped to the log on SIGUSR1, and sent to or
// fetched by whatever the operator has. Labels have few values, known
// beforehand: no task, job or allocation is one.
//
// Goroutines, until the context of Open ends: one that listens for the signal,
// and one that serves Prometheus (or tries to). A statsd or statsite sink has
// one that ends with the process.
package telemetry
