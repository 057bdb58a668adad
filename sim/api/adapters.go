package api

import (
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/nomad-vllm/nomad-vllm/sim/serve"
)

// adapters are the LoRA adapters that are loaded, in the order of their loading.
type adapters struct {
	mu   sync.RWMutex
	list []serve.LoRA
}

func (a *adapters) all() []serve.LoRA {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.list)
}

func (a *adapters) has(name string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.index(name) >= 0
}

func (a *adapters) index(name string) int {
	return slices.IndexFunc(a.list, func(l serve.LoRA) bool { return l.Name == name })
}

// load reports whether the adapter was not there yet. In place, one of its
// name is replaced.
func (a *adapters) load(l serve.LoRA, inPlace bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch at := a.index(l.Name); {
	case at < 0:
		a.list = append(a.list, l)
	case inPlace:
		a.list[at] = l
	default:
		return false
	}
	return true
}

// unload reports whether the adapter was there.
func (a *adapters) unload(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.index(name)
	if at >= 0 {
		a.list = slices.Delete(a.list, at, at+1)
	}
	return at >= 0
}

// loadAdapter and unloadAdapter answer as vLLM's source has it; nobody recorded
// them.
func (s *Server) loadAdapter(w http.ResponseWriter, r *http.Request) {
	b, f := readAdapter(r, "lora_name", "lora_path")
	if f != nil {
		writeFailure(w, f)
		return
	}
	l := serve.LoRA{Name: b.text("lora_name"), Path: b.text("lora_path")}
	switch {
	case l.Name == "" || l.Path == "":
		f = invalidInput("Both 'lora_name' and 'lora_path' must be provided.")
	case !s.cfg.LoRA:
		f = badRequest("", "Call to add_lora method failed: LoRA is not enabled. Use --enable-lora to enable LoRA.")
	case !s.adapters.load(l, b.truth("load_inplace")):
		f = invalidInput(fmt.Sprintf("The lora adapter '%s' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.", l.Name))
	}
	answerAdapter(w, f, fmt.Sprintf("Success: LoRA adapter '%s' added successfully.", l.Name))
}

func (s *Server) unloadAdapter(w http.ResponseWriter, r *http.Request) {
	b, f := readAdapter(r, "lora_name")
	if f != nil {
		writeFailure(w, f)
		return
	}
	name := b.text("lora_name")
	switch {
	case name == "":
		f = invalidInput("'lora_name' needs to be provided to unload a LoRA adapter.")
	case !s.adapters.unload(name):
		f = &failure{Message: fmt.Sprintf("The lora adapter '%s' cannot be found.", name), Type: "NotFoundError", Code: http.StatusNotFound}
	}
	answerAdapter(w, f, fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", name))
}

// readAdapter reads a request that must have these fields.
func readAdapter(r *http.Request, required ...string) (*body, *failure) {
	b, f := readBody(r)
	if f != nil {
		return nil, f
	}
	for _, name := range required {
		if b.m[name] == nil {
			b.fail("missing", name, "Field required", b.m)
		}
		b.text(name)
	}
	b.truth("load_inplace")
	return b, b.failure()
}

func invalidInput(message string) *failure {
	return &failure{Message: message, Type: "InvalidUserInput", Code: http.StatusBadRequest}
}

func answerAdapter(w http.ResponseWriter, f *failure, success string) {
	if f != nil {
		writeFailure(w, f)
		return
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(success)) // the client has gone; there is nobody to tell
}
