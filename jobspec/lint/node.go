package lint

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// node is one block of the job file and the scope that it is evaluated in. The
// zero node is a block that is not there: it has no attributes and no blocks.
type node struct {
	body   *hclsyntax.Body
	scope  *hcl.EvalContext
	labels []string
	at     hcl.Range // the block's header
}

func (n node) present() bool { return n.body != nil }

// label is the block's only label, "" if it has none.
func (n node) label() string {
	if len(n.labels) == 0 {
		return ""
	}
	return n.labels[0]
}

// attr is the value of an attribute; one that is not there is a value that is
// not set and stands where the block does.
func (n node) attr(name string) value {
	if n.present() {
		if a := n.body.Attributes[name]; a != nil {
			return evaluate(a.Expr, n.scope)
		}
	}
	return value{at: n.at}
}

// first is the first block of a type.
func (n node) first(kind string) node {
	if all := n.blocks(kind); len(all) > 0 {
		return all[0]
	}
	return node{}
}

// blocks are the blocks of a type in the order of the file, dynamic ones included.
func (n node) blocks(kind string) []node {
	if !n.present() {
		return nil
	}
	var out []node
	for _, b := range n.body.Blocks {
		switch {
		case b.Type == kind:
			out = append(out, node{body: b.Body, scope: n.scope, labels: b.Labels, at: b.DefRange()})
		case b.Type == "dynamic" && len(b.Labels) == 1 && b.Labels[0] == kind:
			out = append(out, expand(b, n.scope)...)
		}
	}
	return out
}

// expand repeats the content of a dynamic block for each element of for_each.
// If the elements cannot be known the content is looked at once, with an
// unknown iterator: what does not depend on it can still be wrong.
func expand(b *hclsyntax.Block, scope *hcl.EvalContext) []node {
	outer := node{body: b.Body, scope: scope, at: b.DefRange()}
	content := outer.first("content")
	if !content.present() {
		return nil
	}
	iterator := b.Labels[0]
	if a := b.Body.Attributes["iterator"]; a != nil {
		if name := hcl.ExprAsKeyword(a.Expr); name != "" {
			iterator = name
		}
	}
	repeat := func(k, v cty.Value) node {
		inner := scope.NewChild()
		inner.Variables = map[string]cty.Value{iterator: cty.ObjectVal(map[string]cty.Value{"key": k, "value": v})}
		c := content
		c.scope, c.labels = inner, nil
		if a := b.Body.Attributes["labels"]; a != nil {
			c.labels, _ = evaluate(a.Expr, inner).list()
		}
		return c
	}
	each := outer.attr("for_each")
	if !each.set || !each.v.IsKnown() || each.v.IsNull() || !each.v.CanIterateElements() {
		return []node{repeat(cty.DynamicVal, cty.DynamicVal)}
	}
	var out []node
	for it := each.v.ElementIterator(); it.Next(); {
		out = append(out, repeat(it.Element()))
	}
	return out
}

// table reads what Nomad lets people write either as a block of attributes or
// as an attribute holding a map: meta, env, config.
func (n node) table(name string) (entries map[string]value, at hcl.Range, present bool) {
	entries = map[string]value{}
	at = n.at
	for _, b := range n.blocks(name) {
		present, at = true, b.at
		for k := range b.body.Attributes {
			entries[k] = b.attr(k)
		}
	}
	if !n.present() || n.body.Attributes[name] == nil {
		return entries, at, present
	}
	expr := n.body.Attributes[name].Expr
	at = expr.Range()
	if object, ok := expr.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range object.Items {
			if k, ok := evaluate(item.KeyExpr, n.scope).text(); ok {
				entries[k] = evaluate(item.ValueExpr, n.scope)
			}
		}
		return entries, at, true
	}
	v := evaluate(expr, n.scope).v
	if v.IsKnown() && !v.IsNull() && v.CanIterateElements() && (v.Type().IsObjectType() || v.Type().IsMapType()) {
		for k, e := range v.AsValueMap() {
			entries[k] = value{v: e, at: at, set: true}
		}
	}
	return entries, at, true
}
