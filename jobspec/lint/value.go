package lint

import (
	"math/big"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// value is what an expression gives, and where it stands. Its readers return
// ok = false for a value that is not set or cannot be known before run time:
// neither is a mistake by itself.
type value struct {
	v   cty.Value
	at  hcl.Range
	set bool
}

func evaluate(e hclsyntax.Expression, scope *hcl.EvalContext) value {
	v, diags := e.Value(scope)
	if diags.HasErrors() {
		v = cty.DynamicVal // Nomad's parser reports it
	}
	return value{v: v, at: e.Range(), set: true}
}

// text reads a string; numbers and booleans are written out, as Nomad does.
func (x value) text() (string, bool) {
	if !x.set || !x.v.IsKnown() || x.v.IsNull() {
		return "", false
	}
	s, err := convert.Convert(x.v, cty.String)
	if err != nil || !s.IsKnown() || s.IsNull() {
		return "", false
	}
	return s.AsString(), true
}

// number reads a whole number.
func (x value) number() (int, bool) {
	if !x.set || !x.v.IsKnown() || x.v.IsNull() {
		return 0, false
	}
	n, err := convert.Convert(x.v, cty.Number)
	if err != nil || !n.IsKnown() || n.IsNull() {
		return 0, false
	}
	i, accuracy := n.AsBigFloat().Int64()
	return int(i), accuracy == big.Exact
}

// duration reads a Go duration.
func (x value) duration() (time.Duration, bool) {
	s, ok := x.text()
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// durationOr is the duration, or Nomad's default where none is set. ok is
// false only for one that is set and cannot be read.
func (x value) durationOr(fallback time.Duration) (time.Duration, bool) {
	if !x.set {
		return fallback, true
	}
	return x.duration()
}

// list reads a list of strings; whole reports that no element is unknown.
func (x value) list() (items []string, whole bool) {
	if !x.set || !x.v.IsKnown() || x.v.IsNull() || !x.v.CanIterateElements() {
		return nil, !x.set
	}
	whole = true
	for it := x.v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		s, ok := value{v: e, set: true}.text()
		if !ok {
			whole = false
			continue
		}
		items = append(items, s)
	}
	return items, whole
}

// short writes a duration for a message.
func short(d time.Duration) string { return jobspec.FormatDuration(d) }

// arguments are a command line, each with where it stands.
type arguments struct {
	items []string
	at    []hcl.Range
	whole bool      // nothing in it is unknown
	all   hcl.Range // where the list stands
}

// arguments reads an attribute that holds a list. Literals inside concat() keep
// their own places.
func (n node) arguments(name string) arguments {
	out := arguments{whole: true, all: n.at}
	if n.present() {
		if a := n.body.Attributes[name]; a != nil {
			out.all = a.Expr.Range()
			out.collect(a.Expr, n.scope)
		}
	}
	return out
}

func (a *arguments) collect(e hclsyntax.Expression, scope *hcl.EvalContext) {
	switch e := e.(type) {
	case *hclsyntax.TupleConsExpr:
		for _, item := range e.Exprs {
			s, ok := evaluate(item, scope).text()
			a.add(s, item.Range(), ok)
		}
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "concat" && !e.ExpandFinal {
			for _, arg := range e.Args {
				a.collect(arg, scope)
			}
			return
		}
		a.collectValue(e, scope)
	default:
		a.collectValue(e, scope)
	}
}

func (a *arguments) collectValue(e hclsyntax.Expression, scope *hcl.EvalContext) {
	v := evaluate(e, scope)
	items, whole := v.list()
	for _, s := range items {
		a.add(s, v.at, true)
	}
	a.whole = a.whole && whole
}

func (a *arguments) add(s string, at hcl.Range, known bool) {
	if !known {
		a.whole = false
		return
	}
	a.items = append(a.items, s)
	a.at = append(a.at, at)
}
