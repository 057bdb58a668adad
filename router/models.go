package router

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/pool"
	"github.com/nomad-vllm/nomad-vllm/router/upstream"
)

const (
	// modelsTimeout bounds the question to each instance.
	modelsTimeout = 3 * time.Second
	// maxModelsAnswer bounds what an instance may answer.
	maxModelsAnswer = 1 << 20
)

// modelsAnswer is one instance's answer to GET /v1/models.
type modelsAnswer struct {
	code int // 0: none came
	body []byte
	data []json.RawMessage
}

// modelCard is what the router reads of one entry of a list.
type modelCard struct {
	ID     string  `json:"id"`
	Parent *string `json:"parent"` // of a LoRA adapter: its base
}

// models merges what the instances list: one of those that are known to list
// the same, and every one of which nothing is known.
func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	table := s.currentTable()
	if table == nil {
		s.noSnapshot().write(w)
		return
	}
	ask := modelInstances(table)
	header := s.appendLegHeader(nil, r.Header, requestID(r.Header))
	answers := make([]modelsAnswer, len(ask))
	var wg sync.WaitGroup
	for n, i := range ask {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.Context(), modelsTimeout)
			defer cancel()
			var err error
			if answers[n], err = s.askModels(ctx, i, header); err != nil {
				s.logger.Warn("instance does not list its models", "instance", i.ID, "error", err)
			}
		})
	}
	wg.Wait()

	merged, refused := mergeModels(answers)
	switch {
	case len(merged) == 0 && refused != nil: // a wrong key, most likely: the instance says it best
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(refused.code)
		_, _ = w.Write(refused.body)
	case len(merged) == 0 && len(ask) > 0:
		unavailable(fmt.Sprintf("none of the %d instances asked for its models answered", len(ask))).write(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": merged})
	}
}

// modelInstances are the usable decodes to ask: whoever can finish a request.
func modelInstances(t *pool.Table) []*fleet.Instance {
	var ask []*fleet.Instance
	seen := map[string]bool{}
	for _, i := range t.View("").Decodes {
		names := strings.Join(t.Names(i), "\n")
		if names != "" && seen[names] {
			continue
		}
		seen[names] = true
		ask = append(ask, i)
	}
	return ask
}

// askModels reads one instance's list. An answer with another status than 200
// is no error. Its connection is not kept: the next such question is far off.
func (s *Server) askModels(ctx context.Context, i *fleet.Instance, header []byte) (modelsAnswer, error) {
	resp, err := s.asker.Do(ctx, &upstream.Request{Method: http.MethodGet, Base: i.URL, Path: "/v1/models", Header: header})
	if err != nil {
		return modelsAnswer{}, err
	}
	defer resp.Close()
	resp.Discard()
	a := modelsAnswer{code: resp.Status}
	if a.body, err = io.ReadAll(io.LimitReader(resp, maxModelsAnswer)); err != nil || a.code != http.StatusOK {
		return a, err
	}
	var list struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return a, fmt.Errorf("the list is not in OpenAI's shape, or over %d bytes: %w", maxModelsAnswer, err)
	}
	a.data = list.Data
	return a, nil
}

// mergeModels joins the lists, each model once, sorted by id. refused is an
// answer that was an error, if there was one.
func mergeModels(answers []modelsAnswer) (merged []json.RawMessage, refused *modelsAnswer) {
	byID := map[string]json.RawMessage{}
	for n := range answers {
		a := &answers[n]
		if a.code >= 400 {
			refused = a
		}
		for _, raw := range a.data {
			var m modelCard
			if json.Unmarshal(raw, &m) == nil && m.ID != "" && byID[m.ID] == nil {
				byID[m.ID] = raw
			}
		}
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	merged = []json.RawMessage{} // [], not null
	for _, id := range ids {
		merged = append(merged, byID[id])
	}
	return merged, refused
}
