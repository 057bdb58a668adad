package router

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// models merges what the instances list: one of each registered model, and
// every one that does not say what it serves.
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
		wg.Go(func() { answers[n] = s.askModels(r.Context(), i, header) })
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
	var seen []string
	for _, i := range t.View("").Decodes {
		m := i.Meta.Model
		if m != "" && slices.Contains(seen, m) {
			continue
		}
		seen = append(seen, m)
		ask = append(ask, i)
	}
	return ask
}

func (s *Server) askModels(ctx context.Context, i *fleet.Instance, header []byte) modelsAnswer {
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	resp, err := s.client.Do(ctx, &upstream.Request{Method: http.MethodGet, Base: i.URL, Path: "/v1/models", Header: header})
	if err != nil {
		s.logger.Warn("instance does not list its models", "instance", i.ID, "error", err)
		return modelsAnswer{}
	}
	defer resp.Close()
	a := modelsAnswer{code: resp.Status}
	if a.body, err = io.ReadAll(io.LimitReader(resp, maxModelsAnswer)); err != nil || a.code != http.StatusOK {
		return a
	}
	var list struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		s.logger.Warn("instance lists its models in another shape", "instance", i.ID, "error", err)
	}
	a.data = list.Data
	return a
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
			var m struct {
				ID string `json:"id"`
			}
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
