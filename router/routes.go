package router

import (
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// Handler serves the public endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, ep := range handoff.Endpoints() {
		mux.HandleFunc("POST "+string(ep), s.generate(ep))
		mux.HandleFunc(string(ep), s.methodNotAllowed("POST"))
	}
	for _, ep := range passedOn() {
		mux.HandleFunc("POST "+string(ep), s.trip(ep, true))
		mux.HandleFunc(string(ep), s.methodNotAllowed("POST"))
	}
	mux.HandleFunc("GET /v1/models", s.authorized(s.models))
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /ready", s.ready)
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.HandleFunc("/", s.notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch origin := r.Header.Get("Origin"); {
		case origin == "":
		case preflight(w, r):
			return
		default:
			w.Header().Set("Access-Control-Allow-Origin", "*")
		}
		if unclean(r.URL.Path) { // the mux would redirect, which no client of the API follows with its body
			s.notFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unclean reports whether a path says the same in more than one way.
func unclean(p string) bool {
	if p == "" || p[0] != '/' {
		return true
	}
	return strings.Contains(p, "/.") && path.Clean(p) != strings.TrimSuffix(p, "/") || strings.Contains(p, "//")
}

// preflight answers a browser that asks whether a page may send a request, in
// the words of vLLM's default settings: any page may.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Vary", "Origin")
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "OK") // the client may be gone
	return true
}
