package pool

import (
	"cmp"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// Listed is what one instance says that it serves.
type Listed struct {
	// Names are all that it takes as a request's model, sorted.
	Names []string
	// Bases are those of them that are no adapters, in the instance's own
	// order: the first is the model of requests that name none.
	Bases []string
}

// Equal reports whether both say the same.
func (l Listed) Equal(o Listed) bool {
	return slices.Equal(l.Names, o.Names) && slices.Equal(l.Bases, o.Bases)
}

// Has reports whether the name is one of those listed.
func (l Listed) Has(name string) bool {
	_, found := slices.BinarySearch(l.Names, name)
	return found
}

// Names are the models that the instance is known to serve, sorted: the one
// that it is registered for, and what it listed. None: it is taken to serve any.
func (t *Table) Names(i *fleet.Instance) []string {
	listed := t.listed[i.Key()]
	if i.Meta.Model == "" || listed.Has(i.Meta.Model) {
		return listed.Names
	}
	return sorted(append(slices.Clone(listed.Names), i.Meta.Model))
}

// defaultOf is the model that the instance takes a request without one for, ""
// if that is not known.
func (t *Table) defaultOf(i *fleet.Instance) string {
	if bases := t.listed[i.Key()].Bases; i.Meta.Model == "" && len(bases) > 0 {
		return bases[0]
	}
	return i.Meta.Model
}

// sameModel reports whether two instances have the same model underneath,
// whichever of its names or adapters is asked for: KV of another one is none
// to the decode, also where both have an adapter of one name. What they are
// registered for decides. Where that is missing, a base name that both have
// does; and two of which one has not been heard of are taken on trust.
func (t *Table) sameModel(p, d *fleet.Instance) bool {
	if p.Meta.Model != "" && d.Meta.Model != "" {
		return p.Meta.Model == d.Meta.Model
	}
	ps, ds := t.bases(p), t.bases(d)
	if p.Meta.Model == d.Meta.Model && (len(ps) == 0 || len(ds) == 0) {
		return true
	}
	return slices.ContainsFunc(ps, func(name string) bool { return slices.Contains(ds, name) })
}

// PrefillOnly reports whether prefills serve the view's model and the decodes
// beside them do not, so that it is no use to wait for one. A model whose
// decodes are away altogether is another matter: they may come.
func (t *Table) PrefillOnly(v View) bool {
	if len(v.Decodes) > 0 || slices.ContainsFunc(v.Unusable, func(i *fleet.Instance) bool { return i.Role.Decodes() }) {
		return false
	}
	for _, p := range append(slices.Clone(v.Prefills), v.Unusable...) {
		if slices.ContainsFunc(t.View("").Decodes, func(d *fleet.Instance) bool { return t.sameModel(p, d) }) {
			return true
		}
	}
	return false
}

func (t *Table) bases(i *fleet.Instance) []string {
	return addName(slices.Clip(t.listed[i.Key()].Bases), i.Meta.Model)
}

func addName(names []string, name string) []string {
	if name == "" {
		return names
	}
	return append(names, name)
}

func sorted[T cmp.Ordered](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}
