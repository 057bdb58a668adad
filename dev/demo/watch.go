package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
)

// Stage is how far an instance has come.
type Stage string

const (
	StagePlaced  Stage = "placed"  // Nomad has found a node
	StageLoading Stage = "loading" // the process runs, its health check does not pass yet
	StageHealthy Stage = "healthy" // Consul's checks pass
	StageFailed  Stage = "failed"
)

// Progress is a change of one instance's stage.
type Progress struct {
	Instance string // "prefill[0]"
	AllocID  string
	Stage    Stage
	Detail   string // of a failure: the task event that says why
}

// Text is the stage with its detail.
func (p Progress) Text() string {
	if p.Detail == "" {
		return string(p.Stage)
	}
	return string(p.Stage) + ": " + p.Detail
}

// Watcher follows the allocations of one job until all are healthy.
type Watcher struct {
	Nomad  *nomadapi.Client
	Consul *consulapi.Client
	Job    string
	// Each is called for every change.
	Each func(Progress)
	// Alive is asked on every round whether the agents still run.
	Alive func() error
}

// Wait returns nil when as many allocations of each group as the job asks for
// are healthy, and an error that names the cause when an instance fails or
// cannot be placed.
func (w *Watcher) Wait(ctx context.Context) error {
	seen := map[string]Progress{}
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		done, err := w.round(seen)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return w.stuck(ctx, seen)
		case <-t.C:
		}
	}
}

func (w *Watcher) round(seen map[string]Progress) (done bool, err error) {
	if err := w.Alive(); err != nil {
		return false, err
	}
	job, _, err := w.Nomad.Jobs().Info(w.Job, nil)
	if err != nil {
		return false, fmt.Errorf("read job %s: %w", w.Job, err)
	}
	wanted := 0
	for _, g := range job.TaskGroups {
		wanted += *g.Count
	}
	now, err := w.look()
	if err != nil {
		return false, err
	}
	healthy := 0
	for _, p := range now {
		if p.Stage == StageHealthy {
			healthy++
		}
		if seen[p.AllocID] != p {
			seen[p.AllocID] = p
			w.Each(p)
		}
		if p.Stage == StageFailed {
			return false, fmt.Errorf("%s failed: %s; see `nomad alloc status %s`", p.Instance, p.Detail, p.AllocID[:8])
		}
	}
	failures, err := PlacementFailures(w.Nomad, w.Job)
	if err != nil {
		return false, err
	}
	if len(failures) > 0 && len(now) < wanted {
		return false, fmt.Errorf("place job %s: %s", w.Job, strings.Join(failures, "; "))
	}
	return wanted > 0 && healthy >= wanted, nil
}

// look reads where every current allocation of the job is, sorted by instance.
func (w *Watcher) look() ([]Progress, error) {
	allocs, _, err := w.Nomad.Jobs().Allocations(w.Job, false, nil)
	if err != nil {
		return nil, fmt.Errorf("read allocations of job %s: %w", w.Job, err)
	}
	checks, _, err := w.Consul.Health().State("any", nil)
	if err != nil {
		return nil, fmt.Errorf("read health from consul: %w", err)
	}
	var out []Progress
	for _, a := range allocs {
		if a.DesiredStatus != "run" {
			continue
		}
		p := Progress{Instance: strings.TrimPrefix(a.Name, w.Job+"."), AllocID: a.ID}
		p.Stage, p.Detail = stage(a, checks)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Progress) int { return strings.Compare(a.Instance, b.Instance) })
	return out, nil
}

func stage(a *nomadapi.AllocationListStub, checks consulapi.HealthChecks) (Stage, string) {
	switch a.ClientStatus {
	case nomadapi.AllocClientStatusFailed, nomadapi.AllocClientStatusLost:
		return StageFailed, cause(a)
	case nomadapi.AllocClientStatusRunning:
		if passing(a.ID, checks) {
			return StageHealthy, ""
		}
		return StageLoading, ""
	}
	return StagePlaced, ""
}

// cause is the event that says why an allocation failed: the driver's refusal
// or the end of its task, the newest of them; without either, its first event.
func cause(a *nomadapi.AllocationListStub) string {
	var found *nomadapi.TaskEvent
	for _, t := range a.TaskStates {
		for _, e := range t.Events {
			telling := e.Type == nomadapi.TaskDriverFailure || e.Type == nomadapi.TaskTerminated
			if telling || found == nil && e.Type != nomadapi.TaskNotRestarting {
				found = e
			}
		}
	}
	if found == nil {
		return ""
	}
	return found.DisplayMessage
}

// passing reports whether the allocation's services have checks and all of
// them pass. Nomad builds Consul's service IDs from the allocation's.
func passing(alloc string, checks consulapi.HealthChecks) bool {
	n := 0
	for _, c := range checks {
		if strings.Contains(c.ServiceID, alloc) {
			if c.Status != consulapi.HealthPassing {
				return false
			}
			n++
		}
	}
	return n > 0
}

// stuck says which instances were not healthy when the time was up.
func (w *Watcher) stuck(ctx context.Context, seen map[string]Progress) error {
	var late []string
	for _, p := range seen {
		if p.Stage != StageHealthy {
			late = append(late, fmt.Sprintf("%s is %s", p.Instance, p.Stage))
		}
	}
	slices.Sort(late)
	return fmt.Errorf("wait for job %s to become healthy: %w (%s)", w.Job, context.Cause(ctx), strings.Join(late, ", "))
}
