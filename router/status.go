package router

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// Status is what /status and the status page show, and /ready in short.
type Status struct {
	Ready bool `json:"ready"`
	// Disaggregated: at least one prefill and one decode could pair.
	Disaggregated bool   `json:"disaggregated"`
	Message       string `json:"message"`
	Draining      bool   `json:"draining"`
	// SnapshotAgeSeconds is -1 until there is a snapshot, 0 for a fixed list.
	SnapshotAgeSeconds float64          `json:"snapshot_age_seconds"`
	SourceError        string           `json:"source_error,omitempty"`
	Models             []string         `json:"models"`
	Instances          []InstanceStatus `json:"instances,omitempty"`
}

// InstanceStatus is one line of the status page.
type InstanceStatus struct {
	ID               string  `json:"id"`
	URL              string  `json:"url"`
	Role             pd.Role `json:"role"`
	Model            string  `json:"model,omitempty"`
	Compat           string  `json:"compat,omitempty"`
	Usable           bool    `json:"usable"`
	Reason           string  `json:"reason,omitempty"`
	InFlightPrefills int     `json:"in_flight_prefills"`
	InFlightDecodes  int     `json:"in_flight_decodes"`
}

// status looks at everything once.
func (s *Server) status() Status {
	out := Status{Draining: s.draining.Load(), SnapshotAgeSeconds: -1, Models: []string{}}
	if err := s.cfg.Source.LastError(); err != nil {
		out.SourceError = err.Error()
	}
	t := s.currentTable()
	if t == nil {
		out.Message = s.noSnapshot().Message
		return out
	}
	out.SnapshotAgeSeconds = 0
	if at := t.Snapshot.At; !at.IsZero() {
		out.SnapshotAgeSeconds = max(0, time.Since(at).Seconds())
	}
	out.Models = append(out.Models, t.Models()...)
	v := t.View("")
	out.Ready = len(v.Decodes) > 0 && !out.Draining
	out.Disaggregated = len(v.Pairable()) > 0
	out.Message = summary(out, len(v.Prefills), len(v.Decodes), len(v.Unusable))
	for _, i := range t.Snapshot.Instances {
		l := s.chooser.Of(i)
		out.Instances = append(out.Instances, InstanceStatus{
			ID: i.ID, URL: i.URL, Role: i.Role, Model: i.Meta.Model, Compat: i.Meta.Compat,
			Usable: i.Usable(), Reason: i.Unusable, InFlightPrefills: l.Prefills, InFlightDecodes: l.Decodes,
		})
	}
	return out
}

// summary is the state in a sentence.
func summary(s Status, prefills, decodes, unusable int) string {
	counts := fmt.Sprintf("%d prefill and %d decode usable, %d unusable", prefills, decodes, unusable)
	switch {
	case s.Draining:
		return "draining: finishing what runs; " + counts
	case decodes == 0:
		return "cannot serve: no decode instance is usable; " + counts
	case !s.Disaggregated && prefills == 0:
		return "serving locally: no prefill instance is usable; " + counts
	case !s.Disaggregated:
		return "serving locally: no prefill and decode of equal model and pd_compat; " + counts
	}
	return "serving disaggregated; " + counts
}

// health says that the process is up, in vLLM's way: 200 and nothing.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// ready says whether there is at least one way to serve.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	st := s.status()
	st.Instances = nil
	code := http.StatusOK
	if !st.Ready {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "2")
	}
	writeJSON(w, code, st)
}

func (s *Server) statusJSON(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.status())
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client may be gone
}

func (s *Server) statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = s.page.Execute(w, s.status()) // the client may be gone
}

// parsePage makes the status page's template.
func parsePage() *template.Template { return template.Must(template.New("status").Parse(pageText)) }

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>pd-router</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .7rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.ok{color:#17693a}.bad{color:#a11}
</style></head><body>
<h1>pd-router</h1>
<p class="{{if .Ready}}ok{{else}}bad{{end}}">{{.Message}}</p>
{{if .SourceError}}<p class="bad">The list of instances cannot be refreshed: {{.SourceError}}</p>{{end}}
{{if .Instances}}<table>
<tr><th>Instance</th><th>Role</th><th>Model</th><th>Address</th><th>State</th><th>Prefills</th><th>Decodes</th></tr>
{{range .Instances}}<tr><td>{{.ID}}</td><td>{{.Role}}</td><td>{{.Model}}{{if .Compat}} ({{.Compat}}){{end}}</td><td>{{.URL}}</td>
<td class="{{if .Usable}}ok{{else}}bad{{end}}">{{if .Usable}}usable{{else}}{{.Reason}}{{end}}</td><td class="n">{{.InFlightPrefills}}</td><td class="n">{{.InFlightDecodes}}</td></tr>
{{end}}</table>{{end}}
<p><a href="/status">JSON</a> <a href="/metrics">metrics</a></p>
</body></html>
`
