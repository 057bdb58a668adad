package api

import (
	"io"
	"net/http"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.cfg.Engine.Dead():
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

func (s *Server) load(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]int64{"server_load": s.inFlight.Load()})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=1.0.0; charset=utf-8")
	_, _ = w.Write(s.cfg.Registry.Text())
}

type modelList struct {
	Object string      `json:"object"`
	Data   []modelCard `json:"data"`
}

type modelCard struct {
	ID          string           `json:"id"`
	Object      string           `json:"object"`
	Created     int64            `json:"created"`
	OwnedBy     string           `json:"owned_by"`
	Root        string           `json:"root"`
	Parent      *string          `json:"parent"`
	MaxModelLen *int             `json:"max_model_len"`
	Permission  []map[string]any `json:"permission"`
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	list := modelList{Object: "list"}
	for _, name := range s.cfg.Names {
		list.Data = append(list.Data, s.modelCard(modelCard{ID: name, Root: s.cfg.Root, MaxModelLen: &s.cfg.MaxModelLen}))
	}
	for _, l := range s.adapters.all() {
		parent := l.Base
		if !contains(s.cfg.Names, parent) {
			parent = s.cfg.Names[0]
		}
		list.Data = append(list.Data, s.modelCard(modelCard{ID: l.Name, Root: l.Path, Parent: &parent}))
	}
	writeJSON(w, http.StatusOK, list)
}

// modelCard is a card with what is the same on each.
func (s *Server) modelCard(c modelCard) modelCard {
	c.Object, c.Created, c.OwnedBy = "model", s.created.Unix(), "vllm"
	c.Permission = []map[string]any{{
		"id": "modelperm-" + s.cfg.NewID(16), "object": "model_permission", "created": s.created.Unix(),
		"allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true, "allow_search_indices": false,
		"allow_view": true, "allow_fine_tuning": false, "organization": "*", "group": nil, "is_blocking": false,
	}}
	return c
}

func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	model := b.text("model")
	var ids []int
	if b.m["messages"] != nil {
		generate := b.m["add_generation_prompt"] == nil || b.truth("add_generation_prompt")
		ids = tokens.Chat(readMessages(b), generate)
	} else if b.m["prompt"] == nil {
		b.fail("missing", "prompt", "Field required", b.m)
	} else {
		ids = tokens.Encode(b.text("prompt"))
	}
	if f = b.failure(); f == nil {
		f = s.modelError(model)
	}
	if f != nil {
		writeFailure(w, f)
		return
	}
	var strs []string
	if b.truth("return_token_strs") {
		for _, id := range ids {
			strs = append(strs, tokens.Decode(id))
		}
	}
	if ids == nil {
		ids = []int{}
	}
	writeJSON(w, http.StatusOK, struct {
		Count       int      `json:"count"`
		MaxModelLen int      `json:"max_model_len"`
		Tokens      []int    `json:"tokens"`
		Strs        []string `json:"token_strs"`
	}{len(ids), s.cfg.MaxModelLen, ids, strs})
}

func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	b, f := readBody(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	if b.m["tokens"] == nil {
		b.fail("missing", "tokens", "Field required", b.m)
	}
	ids := b.wholes("tokens")
	model := b.text("model")
	if f = b.failure(); f == nil {
		f = s.modelError(model)
	}
	if f != nil {
		writeFailure(w, f)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"prompt": tokens.DecodeAll(ids)})
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, s.cfg.Faults.Text())
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = s.cfg.Faults.Replace(strings.TrimSpace(string(text)))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Engine.Stats())
}
