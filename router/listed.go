package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
)

const (
	// maxNames bounds what is remembered of one instance's list, and
	// maxNameLength a name.
	maxNames      = 1024
	maxNameLength = 256
)

// Run learns what the instances serve until ctx ends, and returns its cause.
// Without it the router goes by what they are registered for.
func (s *Server) Run(ctx context.Context) error { return s.roster.Run(ctx) }

// listed asks an instance what it serves, with the key that the legs carry. Of
// clients' keys there is none: an instance that wants one is not listed.
func (s *Server) listed(ctx context.Context, i *fleet.Instance) (pool.Listed, error) {
	a, err := s.askModels(ctx, i, s.appendLegHeader(nil, nil, newID()))
	switch {
	case err != nil:
		return pool.Listed{}, err
	case a.code == http.StatusUnauthorized || a.code == http.StatusForbidden:
		return pool.Listed{}, fmt.Errorf("GET /v1/models answered %d; the router asks without a client: set -upstream-api-key, or list the model as pd_model", a.code)
	case a.code != http.StatusOK:
		return pool.Listed{}, fmt.Errorf("GET /v1/models answered %d", a.code)
	}
	return readListed(a.data)
}

// readListed takes the names out of a list. A list without any is none: what
// serves nothing would not be running.
func readListed(data []json.RawMessage) (l pool.Listed, err error) {
	for _, raw := range data {
		var m modelCard
		if json.Unmarshal(raw, &m) != nil || m.ID == "" || len(m.ID) > maxNameLength || len(l.Names) == maxNames {
			continue
		}
		l.Names = append(l.Names, m.ID)
		if m.Parent == nil {
			l.Bases = append(l.Bases, m.ID)
		}
	}
	if len(l.Names) == 0 {
		return pool.Listed{}, errors.New("GET /v1/models lists no model")
	}
	slices.Sort(l.Names)
	l.Names = slices.Compact(l.Names)
	return l, nil
}

// disowned takes in that an instance does not serve the model that it was asked
// for. It reports whether that is an adapter which it had listed: then it is
// more likely that it was unloaded than that the request is wrong.
func (s *Server) disowned(i *fleet.Instance, model string) bool {
	s.roster.Doubt(i.Key())
	listed := (*s.roster.Lists())[i.Key()]
	return listed.Has(model) && !slices.Contains(listed.Bases, model)
}
