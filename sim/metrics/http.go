package metrics

import (
	"fmt"
	"time"
)

// HTTP is the metrics of the API server itself.
type HTTP struct {
	requests, duration, durationHigh *Family
}

// NewHTTP declares them.
func NewHTTP(r *Registry) *HTTP {
	few := []float64{0.1, 0.5, 1}
	many := []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60}
	return &HTTP{
		requests:     r.family("http_requests", "Requests by method, status and handler.", counter, nil),
		durationHigh: r.family("http_request_duration_highr_seconds", "Time of all requests.", histogram, many),
		duration:     r.family("http_request_duration_seconds", "Time of requests by handler.", histogram, few),
	}
}

// Count records an answered request. Health checks and scrapes are left out.
func (h *HTTP) Count(path, method string, status int, d time.Duration) {
	switch path {
	case "/health", "/metrics", "/ping", "/load", "/version":
		return
	}
	h.requests.Add(1, "handler", path, "method", method, "status", fmt.Sprintf("%dxx", status/100))
	h.durationHigh.Observe(d.Seconds())
	h.duration.Observe(d.Seconds(), "handler", path, "method", method)
}
