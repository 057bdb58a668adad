package router

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

//go:embed page
var pageFiles embed.FS

// drains are the instances that an operator has taken out, by ID.
type drains struct {
	mu      sync.Mutex
	ids     []string
	changes int
}

const drainedReason = "drained by an operator"

// apply returns the snapshot without its drained instances' use, and which
// state of the drains that is.
func (d *drains) apply(s *fleet.Snapshot) (*fleet.Snapshot, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ids) == 0 {
		return s, d.changes
	}
	var all []*fleet.Instance
	for _, i := range s.Instances {
		if i.Usable() && slices.Contains(d.ids, i.ID) {
			out := *i
			out.Unusable = drainedReason
			i = &out
		}
		all = append(all, i)
	}
	return fleet.NewSnapshot(all, s.At), d.changes
}

func (d *drains) set(id string, drained bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids = slices.DeleteFunc(d.ids, func(x string) bool { return x == id })
	if drained {
		d.ids = append(d.ids, id)
	}
	d.changes++
}

func (d *drains) state() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// Admin serves what is for operators only: the status page and its JSON, drain
// and weight of single instances, metrics and profiles. It has no keys of its
// own and belongs on a loopback address.
func (s *Server) Admin() http.Handler {
	page, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the name is in the binary
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	mux.HandleFunc("GET /status", s.statusJSON)
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /ready", s.ready)
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.HandleFunc("POST /instances/drain", s.setInstance(func(i *fleet.Instance, _ string) error { s.drains.set(i.ID, true); return nil }))
	mux.HandleFunc("POST /instances/undrain", s.setInstance(func(i *fleet.Instance, _ string) error { s.drains.set(i.ID, false); return nil }))
	mux.HandleFunc("POST /instances/weight", s.setInstance(s.setWeight))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	// A page of another site in the operator's browser must not drain anything.
	same := http.NewCrossOriginProtection()
	return same.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	}))
}

// setInstance is a handler that changes one instance, named by the parameter
// id, and answers with its state.
func (s *Server) setInstance(set func(*fleet.Instance, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		i, known := s.instance(id)
		if i == nil {
			e := &apiError{
				Message: fmt.Sprintf("there is no instance %q; there are: %s", clip(id), strings.Join(known, ", ")),
				Type:    typeNotFound, Param: "id", Code: http.StatusNotFound,
			}
			e.write(w)
			return
		}
		if err := set(i, r.URL.Query().Get("weight")); err != nil {
			badRequest(err.Error(), "weight").write(w)
			return
		}
		s.logger.Info("instance was changed by an operator", "instance", id, "call", r.URL.Path, "weight", r.URL.Query().Get("weight"))
		if i, _ = s.instance(id); i != nil { // as it is now
			writeJSON(w, http.StatusOK, s.instanceStatus(s.currentTable(), i))
		}
	}
}

// instance finds one, and lists all.
func (s *Server) instance(id string) (found *fleet.Instance, known []string) {
	t := s.currentTable()
	if t == nil {
		return nil, nil
	}
	for _, i := range t.Snapshot.Instances {
		known = append(known, i.ID)
		if i.ID == id {
			found = i
		}
	}
	return found, known
}

func (s *Server) setWeight(i *fleet.Instance, text string) error {
	w, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(w) || w < 0.01 || w > 100 {
		return fmt.Errorf("weight %q: want a number from 0.01 to 100; 1 is the rule, and drain takes an instance out", clip(text))
	}
	s.chooser.SetWeight(i, w)
	return nil
}
