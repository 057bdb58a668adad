package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
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
	Models             []string         `json:"models"` // that instances are registered for
	Running            int              `json:"running"`
	Waiting            int              `json:"waiting"`
	LocalBelow         int              `json:"local_below_bytes"` // the threshold in force
	Instances          []InstanceStatus `json:"instances,omitempty"`
	// Flows of the last minute, and the latest requests that went local.
	Flows  []Flow  `json:"flows,omitempty"`
	Locals []Local `json:"locals,omitempty"`
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
	PrefillBytes     int64   `json:"prefill_bytes"` // of prompts in leg 1 that it has to compute

	// Serves are the names by which requests reach it, adapters too; none: any.
	Serves []string `json:"serves,omitempty"`

	Breaker breaker.State `json:"breaker"`
	Weight  float64       `json:"weight"`
	Share   float64       `json:"share"` // weight, less while it starts
	// What the instance last said of itself; absent if it never did.
	ReportedWaiting *float64 `json:"reported_waiting,omitempty"`
	ReportedKVUsage *float64 `json:"reported_kv_usage,omitempty"`
	// PrefixBlocks is how much of prompts it is believed to hold.
	PrefixBlocks int `json:"prefix_blocks"`
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
	out.Models = append(out.Models, t.Registered()...)
	v := t.View("")
	out.Ready = len(v.Decodes) > 0 && !out.Draining
	out.Disaggregated = len(v.Pairable()) > 0
	out.Message = summary(out, len(v.Prefills), len(v.Decodes), len(v.Unusable))
	out.Running, out.Waiting = s.queue.Depth()
	out.LocalBelow = s.worth.Threshold()
	out.Flows, out.Locals = s.flows.lastMinute(time.Now())
	for _, i := range t.Snapshot.Instances {
		out.Instances = append(out.Instances, s.instanceStatus(t, i))
	}
	return out
}

func (s *Server) instanceStatus(t *pool.Table, i *fleet.Instance) InstanceStatus {
	l := s.chooser.Of(i)
	st := InstanceStatus{
		ID: i.ID, URL: i.URL, Role: i.Role, Model: i.Meta.Model, Serves: t.Names(i), Compat: i.Meta.Compat,
		Usable: i.Usable(), Reason: i.Unusable,
		InFlightPrefills: l.Prefills, InFlightDecodes: l.Decodes, PrefillBytes: l.PrefillBytes,
		Breaker: s.breakers.State(i), Weight: l.Weight, Share: l.Share, PrefixBlocks: l.Blocks,
	}
	if !l.Reported.IsZero() {
		st.ReportedWaiting, st.ReportedKVUsage = &l.Report.Waiting, &l.Report.KVUsage
	}
	return st
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
	st.Instances, st.Flows, st.Locals = nil, nil, nil
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
