// Package api is the HTTP server of the simulated vLLM: the OpenAI-compatible
// endpoints with vLLM's own answers, errors, event framing and side endpoints.
//
// It runs in the goroutines of net/http and keeps no other. A handler owns the
// sequences that it submits: when its client leaves, it aborts them.
package api
