package api

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/fault"
	"github.com/nomad-vllm/nomad-vllm/sim/metrics"
	"github.com/nomad-vllm/nomad-vllm/sim/serve"
)

// Config is what a Server is made from.
type Config struct {
	Names       []string // of the model; the first is used in answers
	LoRA        bool     // adapters can be loaded
	Adapters    []serve.LoRA
	LoadAtWill  bool   // VLLM_ALLOW_RUNTIME_LORA_UPDATING
	Root        string // the model as it was given on the command line
	MaxModelLen int
	DPSize      int // ranks behind the server
	APIKeys     []string
	// RequestIDHeaders echoes X-Request-Id; PromptTokensDetails reports cached
	// tokens; LoadTracking counts requests for /load; ForceUsage adds usage to
	// every stream.
	RequestIDHeaders, PromptTokensDetails, LoadTracking, ForceUsage bool
	// SilentLoadFailure ends a streamed completion whose KV could not be loaded
	// without a token and without an error, as vLLM 0.26 does.
	SilentLoadFailure bool
	// Version is what /version says.
	Version string
	// Dev opens vLLM's development endpoints, Admin the simulator's own.
	Dev, Admin bool
	// Fingerprint follows the version in system_fingerprint.
	Fingerprint string

	Engine   *engine.Engine
	Registry *metrics.Registry
	Metrics  *metrics.Engine
	HTTP     *metrics.HTTP
	Faults   *fault.Script
	// NewID makes n hexadecimal digits of an id.
	NewID func(n int) string
	// Exit ends the process at once; KillEngine the engine only.
	Exit, KillEngine func()
}

// Server is the HTTP handler.
type Server struct {
	cfg      Config
	routes   map[string]map[string]http.HandlerFunc
	created  time.Time
	inFlight atomic.Int64
	draining atomic.Bool
	adapters adapters
}

// Drain refuses generation requests from now on, with the error that vLLM's
// API server has when its workers are shut down; everything else is answered as
// before, /health included.
func (s *Server) Drain() { s.draining.Store(true) }

// drainError is the failure of a request that came too late, nil if it did not.
func (s *Server) drainError() *failure {
	if !s.draining.Load() {
		return nil
	}
	return internal("cannot schedule new futures after shutdown")
}

// New makes the handler of one server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, created: time.Now(), adapters: adapters{list: slices.Clone(cfg.Adapters)}}
	s.routes = s.table()
	return s
}

func (s *Server) table() map[string]map[string]http.HandlerFunc {
	get := func(h http.HandlerFunc) map[string]http.HandlerFunc { return map[string]http.HandlerFunc{"GET": h} }
	post := func(h http.HandlerFunc) map[string]http.HandlerFunc { return map[string]http.HandlerFunc{"POST": h} }
	t := map[string]map[string]http.HandlerFunc{
		"/health": get(s.health),
		"/ping":   {"GET": s.health, "POST": s.health},
		"/load":   get(s.load),
		"/version": get(func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, 200, map[string]string{"version": s.cfg.Version})
		}),
		"/metrics":             get(s.metrics),
		"/v1/models":           get(s.models),
		"/tokenize":            post(s.tokenize),
		"/detokenize":          post(s.detokenize),
		"/v1/chat/completions": post(s.counted(s.chat)),
		"/v1/completions":      post(s.counted(s.completions)),
		"/v1/responses":        post(s.counted(s.responses)),
		"/v1/messages":         post(s.counted(s.messages)),

		"/v1/messages/count_tokens": post(s.counted(s.countTokens)),
	}
	if s.cfg.LoadAtWill {
		t["/v1/load_lora_adapter"] = post(s.loadAdapter)
		t["/v1/unload_lora_adapter"] = post(s.unloadAdapter)
	}
	if s.cfg.Dev {
		t["/is_sleeping"] = get(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]bool{"is_sleeping": false}) })
		t["/reset_prefix_cache"] = post(func(w http.ResponseWriter, _ *http.Request) { s.cfg.Engine.ResetPrefixCache() })
	}
	if s.cfg.Admin {
		t["/sim/faults"] = map[string]http.HandlerFunc{"GET": s.getFaults, "PUT": s.putFaults}
		t["/sim/state"] = get(s.state)
	}
	return t
}

// ServeHTTP routes a request as vLLM's server does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "uvicorn")
	h.Set("Vary", "Origin")
	if s.cfg.RequestIDHeaders {
		id := r.Header.Get("X-Request-Id")
		if id == "" {
			id = s.cfg.NewID(32)
		}
		h.Set("X-Request-Id", id)
	}
	if !s.authorized(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "Unauthorized"})
		return
	}
	methods, ok := s.routes[r.URL.Path]
	if !ok {
		methods, ok = s.responseRoute(r.URL.Path)
	}
	if bare := strings.TrimSuffix(r.URL.Path, "/"); !ok && s.routes[bare] != nil {
		h.Set("Location", "http://"+r.Host+bare)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	if !ok {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
		return
	}
	rec := &recorder{ResponseWriter: w}
	start := time.Now()
	defer func() { s.cfg.HTTP.Count(r.URL.Path, r.Method, rec.status(), time.Since(start)) }()
	handle, ok := methods[r.Method]
	if !ok {
		h.Set("Allow", allow(methods))
		writeJSON(rec, http.StatusMethodNotAllowed, map[string]string{"detail": "Method Not Allowed"})
		return
	}
	handle(rec, r)
}

// responseRoute finds the routes of one stored response.
func (s *Server) responseRoute(path string) (map[string]http.HandlerFunc, bool) {
	id, ok := strings.CutPrefix(path, "/v1/responses/")
	if !ok || id == "" {
		return nil, false
	}
	if id, ok := strings.CutSuffix(id, "/cancel"); ok && !strings.Contains(id, "/") {
		return map[string]http.HandlerFunc{"POST": s.storedResponse(id)}, true
	}
	return map[string]http.HandlerFunc{"GET": s.storedResponse(id)}, !strings.Contains(id, "/")
}

// authorized checks the key on the paths that it guards.
func (s *Server) authorized(r *http.Request) bool {
	if len(s.cfg.APIKeys) == 0 || r.Method == http.MethodOptions {
		return true
	}
	guarded := false
	for _, prefix := range []string{"/v1", "/v2", "/inference", "/cohere"} {
		guarded = guarded || strings.HasPrefix(r.URL.Path, prefix)
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return !guarded || strings.EqualFold(scheme, "bearer") && contains(s.cfg.APIKeys, key)
}

func allow(methods map[string]http.HandlerFunc) string {
	var names []string
	for m := range methods {
		names = append(names, m)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// counted counts a generation request for /load.
func (s *Server) counted(h http.HandlerFunc) http.HandlerFunc {
	if !s.cfg.LoadTracking {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		h(w, r)
	}
}

// recorder remembers the status that was sent.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// modelError is the failure for a model that is not served, nil if it is. No
// model at all is the server's own.
func (s *Server) modelError(name string) *failure {
	if name == "" || contains(s.cfg.Names, name) || s.adapters.has(name) {
		return nil
	}
	param := "model"
	return &failure{
		Message: fmt.Sprintf("The model `%s` does not exist. Valid aliases: %s.", name, strings.Join(s.cfg.Names, ", ")),
		Type:    "NotFoundError", Param: &param, Code: http.StatusNotFound,
	}
}

func (s *Server) modelName(asked string) string {
	if asked == "" {
		return s.cfg.Names[0]
	}
	return asked
}

// adapter is the LoRA adapter that a model's name stands for, "" if it is the
// base model's own.
func (s *Server) adapter(model string) string {
	if model == "" || contains(s.cfg.Names, model) {
		return ""
	}
	return model
}

func (s *Server) fingerprint() string { return "vllm-" + s.cfg.Version + "-" + s.cfg.Fingerprint }

// requestID is the part of ids that comes from the client, in its header or
// else in its body, or a fresh one.
func (s *Server) requestID(r *http.Request, b *body) string {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		return id
	}
	if id := b.text("request_id"); id != "" {
		return id
	}
	return s.cfg.NewID(16)
}
