// Package metrics is everything that the router counts, on a registry of its
// own. Gauges of instances are read from the router when a scrape comes, so
// that an instance that is gone leaves no series behind. No goroutine.
package metrics
