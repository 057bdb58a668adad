package pool

import (
	"slices"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Table is one snapshot sorted into pools.
type Table struct {
	Snapshot *fleet.Snapshot
	models   []string
	views    map[string]View // of each model, and of none
	others   View            // of models that no instance names
}

// NewTable indexes a snapshot.
func NewTable(s *fleet.Snapshot) *Table {
	t := &Table{Snapshot: s}
	for _, i := range s.Instances {
		if m := i.Meta.Model; m != "" {
			t.models = append(t.models, m)
		}
	}
	slices.Sort(t.models)
	t.models = slices.Compact(t.models)
	t.views = map[string]View{"": t.view("")}
	t.others = t.view("\x00") // no model's name
	for _, m := range t.models {
		t.views[m] = t.view(m)
	}
	return t
}

// Models are the names that instances, usable or not, are registered for, sorted.
func (t *Table) Models() []string { return t.models }

// View is what one snapshot offers to requests for one model.
type View struct {
	Model    string
	Prefills []*fleet.Instance // usable for leg 1
	Decodes  []*fleet.Instance // usable for leg 2 and for the local path
	// Unusable instances of the model, either role: the reasons for an error message.
	Unusable []*fleet.Instance

	pairable []*fleet.Instance
	pairs    map[string][]*fleet.Instance // who may take over, by prefill
}

// View picks out the instances that serve the model. An instance that names
// no model serves any, and a request that names none is served by any.
func (t *Table) View(model string) View {
	v, ok := t.views[model]
	if !ok {
		v = t.others
		v.Model = model
	}
	return v
}

func (t *Table) view(model string) View {
	v := View{Model: model}
	for _, i := range t.Snapshot.Instances {
		switch {
		case model != "" && i.Meta.Model != "" && i.Meta.Model != model:
		case !i.Usable():
			v.Unusable = append(v.Unusable, i)
		default:
			if i.Role.Prefills() {
				v.Prefills = append(v.Prefills, i)
			}
			if i.Role.Decodes() {
				v.Decodes = append(v.Decodes, i)
			}
		}
	}
	// Every request of the snapshot shares these: nobody may append to them.
	v.Prefills, v.Decodes = slices.Clip(v.Prefills), slices.Clip(v.Decodes)
	for _, p := range v.Prefills {
		if decodes := v.decodesFor(p); len(decodes) > 0 {
			if v.pairs == nil {
				v.pairs = map[string][]*fleet.Instance{}
			}
			v.pairable, v.pairs[p.ID] = append(v.pairable, p), slices.Clip(decodes)
		}
	}
	v.pairable = slices.Clip(v.pairable)
	return v
}

// Known reports whether any instance, usable or not, serves the model.
func (v View) Known() bool { return len(v.Prefills)+len(v.Decodes)+len(v.Unusable) > 0 }

// Pairable are the prefills that some decode of the view could take over from.
func (v View) Pairable() []*fleet.Instance { return v.pairable }

// DecodesFor are the decodes that may take over from the prefill: of equal
// compat and model, and not the prefill itself, which would hand over to itself.
func (v View) DecodesFor(p *fleet.Instance) []*fleet.Instance { return v.pairs[p.ID] }

func (v View) decodesFor(p *fleet.Instance) (out []*fleet.Instance) {
	for _, d := range v.Decodes {
		if d.ID != p.ID && d.Meta.Compat == p.Meta.Compat && d.Meta.Model == p.Meta.Model {
			out = append(out, d)
		}
	}
	return out
}

// Without leaves out the instances with the given IDs.
func Without(instances []*fleet.Instance, ids ...string) []*fleet.Instance {
	if len(ids) == 0 {
		return instances
	}
	var out []*fleet.Instance
	for _, i := range instances {
		if !slices.Contains(ids, i.ID) {
			out = append(out, i)
		}
	}
	return out
}
