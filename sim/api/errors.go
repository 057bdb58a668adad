package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/nomad-vllm/nomad-vllm/sim/engine"
)

// failure is an error as vLLM words it: {"error": {...}}.
type failure struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"`

	detail string // answered as {"detail": ...} instead
}

func (f *failure) Error() string { return f.Message }

// badRequest is a request that is well formed and not acceptable.
func badRequest(param, message string) *failure {
	f := &failure{Message: message, Type: "BadRequestError", Code: http.StatusBadRequest}
	if param != "" {
		f.Param = &param
	}
	return f
}

func internal(message string) *failure {
	return &failure{Message: message, Type: "InternalServerError", Code: http.StatusInternalServerError}
}

// asFailure words an engine's error.
func asFailure(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, engine.ErrDead):
		return internal("EngineCore encountered an issue. See stack trace (above) for the root cause.")
	}
	return internal("Internal server error")
}

// badForm is the type of a failure of the request's form.
const badForm = "Bad Request"

func writeFailure(w http.ResponseWriter, f *failure) {
	if f.detail != "" {
		writeJSON(w, f.Code, map[string]string{"detail": f.detail})
		return
	}
	writeJSON(w, f.Code, map[string]*failure{"error": f})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body := marshal(v)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone; there is nobody to tell
}

// marshal prints JSON the way Python does: no escapes for <, > and &.
func marshal(v any) []byte {
	var b buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte(`{"error":"encode"}`)
	}
	return b[:len(b)-1]
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
