package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/sse"
)

// statusClientGone is nginx's code for a client that left before its answer.
// It is counted and logged; nobody is there to receive it.
const statusClientGone = 499

// Error types as vLLM names them.
const (
	typeBadRequest  = "BadRequestError"
	typeNotFound    = "NotFoundError"
	typeTooLarge    = "RequestEntityTooLargeError"
	typeUnavailable = "ServiceUnavailableError"
	typeBadGateway  = "BadGatewayError"
	typeMethod      = "MethodNotAllowedError"

	typeUnauthorized = "UnauthorizedError"
	typeTooMany      = "TooManyRequestsError"
	typeTimeout      = "RequestTimeoutError"
)

// apiError is an error that the client is told, in OpenAI's shape.
type apiError struct {
	Message    string `json:"message"`
	Type       string `json:"type"`
	Param      any    `json:"param"` // a string or null
	Code       int    `json:"code"`
	retryAfter int    // seconds, 0 for none
}

func (e *apiError) Error() string { return e.Message }

func (e *apiError) body() []byte {
	b, _ := json.Marshal(map[string]*apiError{"error": e}) // strings and numbers always marshal
	return b
}

// parts are the type and the message as JSON.
func (e *apiError) parts() (kind, message []byte) {
	kind, _ = json.Marshal(e.Type)
	message, _ = json.Marshal(e.Message)
	return kind, message
}

// bodyIn is the error in the shape of a protocol, with vLLM's types in each.
func (e *apiError) bodyIn(p sse.Protocol) []byte {
	if p != sse.Messages {
		return e.body()
	}
	kind, message := e.parts()
	return fmt.Appendf(nil, `{"type":"error","error":{"type":%s,"message":%s}}`, kind, message)
}

func (e *apiError) write(w http.ResponseWriter) { e.writeIn(w, sse.OpenAI) }

func (e *apiError) writeIn(w http.ResponseWriter, p sse.Protocol) {
	b := e.bodyIn(p)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	w.WriteHeader(e.Code)
	_, _ = w.Write(b) // the client may be gone, which the context tells
}

func badRequest(message string, param any) *apiError {
	return &apiError{Message: message, Type: typeBadRequest, Param: param, Code: http.StatusBadRequest}
}

func badGateway(message string) *apiError {
	return &apiError{Message: message, Type: typeBadGateway, Code: http.StatusBadGateway}
}

func unavailable(message string) *apiError {
	return &apiError{Message: message, Type: typeUnavailable, Code: http.StatusServiceUnavailable, retryAfter: 2}
}

// noSnapshot is the error before the first answer of the source.
func (s *Server) noSnapshot() *apiError {
	msg := "no instance is known yet: the list of instances has not been read"
	if err := s.cfg.Source.LastError(); err != nil {
		msg += ": " + err.Error()
	}
	return unavailable(msg)
}

// unknownModel is the error for a model that no instance is known to serve.
func unknownModel(model string, have []string) *apiError {
	return &apiError{
		Message: fmt.Sprintf("The model %q is not served here. Served: %s.", clip(model), list(have)),
		Type:    typeNotFound, Param: "model", Code: http.StatusNotFound,
	}
}

// prefillOnly is the error for an adapter that was loaded on half of a fleet.
func prefillOnly(v pool.View) *apiError {
	var ids []string
	for _, i := range append(slices.Clone(v.Prefills), v.Unusable...) {
		ids = append(ids, i.ID)
	}
	return &apiError{
		Message: fmt.Sprintf("The model %q is not served here: of the instances only prefills list it (%s); load it on the decodes as well.", clip(v.Model), list(ids)),
		Type:    typeNotFound, Param: "model", Code: http.StatusNotFound,
	}
}

// noDecode is the error when nothing can write an answer.
func noDecode(v pool.View) *apiError {
	what := "the request"
	if v.Model != "" {
		what = fmt.Sprintf("model %q", clip(v.Model))
	}
	msg := fmt.Sprintf("no instance can serve %s now: the decode pool is empty", what)
	if len(v.Prefills) == 0 {
		msg += " and so is the prefill pool"
	} else {
		msg += fmt.Sprintf(" (%d prefill usable)", len(v.Prefills))
	}
	return unavailable(msg + whyUnusable(v.Unusable))
}

// whyUnusable lists a few unusable instances with their reasons.
func whyUnusable(instances []*fleet.Instance) string {
	const most = 5
	if len(instances) == 0 {
		return "; none is registered that is unusable"
	}
	var parts []string
	for n, i := range instances {
		if n == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(instances)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (%s): %s", i.ID, i.Role, i.Unusable))
	}
	return "; unusable: " + strings.Join(parts, " | ")
}

// clip bounds what a client sent before it is repeated.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// list names what there is, and of much only some: adapters may be hundreds.
func list(names []string) string {
	const most = 20
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	e := &apiError{
		Message: fmt.Sprintf("%s %s is not served here; POST /v1/chat/completions, /v1/completions, /v1/responses and /v1/messages, GET /v1/models, /health, /ready and /metrics are.", r.Method, clip(r.URL.Path)),
		Type:    typeNotFound, Code: http.StatusNotFound,
	}
	e.write(w)
}

func (s *Server) methodNotAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		e := &apiError{Message: fmt.Sprintf("%s is not allowed on %s; use %s", r.Method, r.URL.Path, allow), Type: typeMethod, Code: http.StatusMethodNotAllowed}
		e.write(w)
	}
}
