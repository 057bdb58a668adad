package pool

import (
	"encoding/binary"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Table is one snapshot sorted into pools.
type Table struct {
	Snapshot   *fleet.Snapshot
	listed     map[fleet.Key]Listed
	models     []string
	registered []string
	defaults   []string
	views      map[string]View // of each model, and of none
	others     View            // of models that no instance names
}

// NewTable indexes a snapshot, with what its instances have listed.
func NewTable(s *fleet.Snapshot, listed map[fleet.Key]Listed) *Table {
	t := &Table{Snapshot: s, listed: listed}
	members, anything := map[string][]int{}, []int(nil)
	for n, i := range s.Instances {
		t.registered = addName(t.registered, i.Meta.Model)
		t.defaults = addName(t.defaults, t.defaultOf(i))
		names := t.Names(i)
		for _, m := range names {
			members[m] = append(members[m], n)
		}
		if len(names) == 0 {
			anything = append(anything, n)
		}
	}
	t.registered, t.defaults = sorted(t.registered), sorted(t.defaults)
	t.fill(members, anything)
	return t
}

// fill makes the views. Names that the same instances serve, as the adapters of
// a fleet mostly are, share one.
func (t *Table) fill(members map[string][]int, anything []int) {
	everyone := make([]int, len(t.Snapshot.Instances))
	for n := range everyone {
		everyone[n] = n
	}
	made := map[string]View{}
	view := func(model string, of []int) View {
		key := make([]byte, 0, 4*len(of))
		for _, n := range of {
			key = binary.AppendUvarint(key, uint64(n))
		}
		v, ok := made[string(key)]
		if !ok {
			v = t.view(of)
			made[string(key)] = v
		}
		v.Model = model
		return v
	}
	t.others = view("", anything)
	t.views = map[string]View{"": view("", everyone)}
	for m, of := range members {
		of = sorted(append(of, anything...))
		t.views[m] = view(m, of)
		t.models = append(t.models, m)
	}
	slices.Sort(t.models)
}

// Models are the names that instances, usable or not, are known to serve, sorted.
func (t *Table) Models() []string { return t.models }

// Registered are those of them that instances are registered for. Only these
// are few: how many adapters an instance lists is up to whoever loads them.
func (t *Table) Registered() []string { return t.registered }

// Defaults are the models that requests without a model may mean.
func (t *Table) Defaults() []string { return t.defaults }

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

// View picks out the instances that serve the model. An instance of which no
// name is known serves any, and a request that names none is served by any.
func (t *Table) View(model string) View {
	v, ok := t.views[model]
	if !ok {
		v = t.others
		v.Model = model
	}
	return v
}

// view sorts the instances at these places of the snapshot.
func (t *Table) view(places []int) View {
	v := View{}
	for _, n := range places {
		i := t.Snapshot.Instances[n]
		if !i.Usable() {
			v.Unusable = append(v.Unusable, i)
			continue
		}
		if i.Role.Prefills() {
			v.Prefills = append(v.Prefills, i)
		}
		if i.Role.Decodes() {
			v.Decodes = append(v.Decodes, i)
		}
	}
	// Every request of the snapshot shares these: nobody may append to them.
	v.Prefills, v.Decodes, v.Unusable = slices.Clip(v.Prefills), slices.Clip(v.Decodes), slices.Clip(v.Unusable)
	for _, p := range v.Prefills {
		if decodes := t.decodesFor(p, v.Decodes); len(decodes) > 0 {
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
// compat and with the same model underneath, and not the prefill itself, which
// would hand over to itself.
func (v View) DecodesFor(p *fleet.Instance) []*fleet.Instance { return v.pairs[p.ID] }

func (t *Table) decodesFor(p *fleet.Instance, decodes []*fleet.Instance) (out []*fleet.Instance) {
	for _, d := range decodes {
		if d.ID != p.ID && d.Meta.Compat == p.Meta.Compat && t.sameModel(p, d) {
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
