package lint

import (
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/jobspec2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// newScope makes what the job's expressions are evaluated in: var, local, and
// Nomad's functions. What only the client knows ("${NOMAD_ALLOC_ID}",
// "${attr.kernel.name}") stays text, as it does in Nomad. A variable without a
// value, or with one that cannot be read, is unknown, and so is what is made of
// it: Nomad's parser has reported it.
func newScope(body *hclsyntax.Body, src []byte, opts Options) *hcl.EvalContext {
	scope := &hcl.EvalContext{
		Functions: jobspec2.Functions(".", false),
		Variables: map[string]cty.Value{"var": cty.EmptyObjectVal, "local": cty.EmptyObjectVal},
		UndefinedVariable: func(t hcl.Traversal) (cty.Value, hcl.Diagnostics) {
			r := t.SourceRange()
			if r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
				return cty.DynamicVal, nil
			}
			return cty.StringVal("${" + string(src[r.Start.Byte:r.End.Byte]) + "}"), nil
		},
	}
	given := givenValues(opts)
	vars := map[string]cty.Value{}
	for _, b := range body.Blocks {
		if b.Type == "variable" && len(b.Labels) == 1 {
			vars[b.Labels[0]] = variable(b, given[b.Labels[0]], scope)
		}
	}
	scope.Variables["var"] = cty.ObjectVal(vars)
	scope.Variables["local"] = cty.ObjectVal(locals(body, scope))
	return scope
}

// givenValue is a variable's value from outside the file: text as typed in a
// shell, or an expression of a variables file.
type givenValue struct {
	text string
	expr hclsyntax.Expression
	set  bool
}

// givenValues collects them; later ones win: environment, files, then -var.
func givenValues(opts Options) map[string]givenValue {
	given := map[string]givenValue{}
	for _, e := range opts.Env {
		if kv, ok := strings.CutPrefix(e, "NOMAD_VAR_"); ok {
			k, v, _ := strings.Cut(kv, "=")
			given[k] = givenValue{text: v, set: true}
		}
	}
	for _, path := range opts.VarFiles {
		src, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
		if diags.HasErrors() {
			continue
		}
		for k, a := range file.Body.(*hclsyntax.Body).Attributes {
			given[k] = givenValue{expr: a.Expr, set: true}
		}
	}
	for _, kv := range opts.Vars {
		k, v, _ := strings.Cut(kv, "=")
		given[k] = givenValue{text: v, set: true}
	}
	return given
}

// variable is the value of an input variable, converted to its declared type.
func variable(b *hclsyntax.Block, given givenValue, scope *hcl.EvalContext) cty.Value {
	want := cty.DynamicPseudoType
	if a := b.Body.Attributes["type"]; a != nil {
		if t, ds := typeexpr.TypeConstraint(a.Expr); !ds.HasErrors() {
			want = t
		}
	}
	expr := given.expr
	switch {
	case given.set && expr == nil && want == cty.String:
		return cty.StringVal(given.text)
	case given.set && expr == nil:
		var ds hcl.Diagnostics
		expr, ds = hclsyntax.ParseExpression([]byte(given.text), "-var "+b.Labels[0], hcl.InitialPos)
		if ds.HasErrors() {
			return cty.DynamicVal
		}
	case !given.set:
		a := b.Body.Attributes["default"]
		if a == nil {
			return cty.DynamicVal
		}
		expr = a.Expr
	}
	v, ds := expr.Value(scope)
	if ds.HasErrors() {
		return cty.DynamicVal
	}
	if converted, err := convert.Convert(v, want); err == nil {
		v = converted
	}
	return v
}

// locals evaluates the locals blocks. One may use another, in any order, so it
// goes over them until nothing new comes out.
func locals(body *hclsyntax.Body, scope *hcl.EvalContext) map[string]cty.Value {
	exprs := map[string]hclsyntax.Expression{}
	values := map[string]cty.Value{}
	for _, b := range body.Blocks {
		if b.Type == "locals" {
			for k, a := range b.Body.Attributes {
				exprs[k], values[k] = a.Expr, cty.DynamicVal
			}
		}
	}
	for range len(exprs) {
		inner := scope.NewChild()
		inner.Variables = map[string]cty.Value{"local": cty.ObjectVal(values)}
		next := map[string]cty.Value{}
		for k, e := range exprs {
			if v, ds := e.Value(inner); !ds.HasErrors() {
				next[k] = v
			} else {
				next[k] = cty.DynamicVal
			}
		}
		values = next
	}
	return values
}
