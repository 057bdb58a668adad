package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/nomad-vllm/nomad-vllm/router/admit"
)

// key reads a key block: a client's name and what it may ask.
//
//	key "team-a" {
//	  sha256      = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//	  priority    = "high"
//	  max_running = 8
//	}
func (r *reader) key(b *hclsyntax.Block) {
	if len(b.Labels) != 1 {
		r.fail(b.TypeRange, `key: want one label, the name, like key "team-a" {}`)
		return
	}
	k := admit.Key{Name: b.Labels[0]}
	var priority string
	f := flag.NewFlagSet("key", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&k.SHA256, "sha256", "", "")
	f.StringVar(&priority, "priority", "", "")
	f.IntVar(&k.MaxRunning, "max_running", 0, "")
	f.IntVar(&k.MaxWaiting, "max_waiting", 0, "")
	f.Float64Var(&k.Rate, "rate", 0, "")
	for name, a := range b.Body.Attributes {
		if f.Lookup(name) == nil {
			var known []string
			f.VisitAll(func(x *flag.Flag) { known = append(known, x.Name) })
			slices.Sort(known)
			r.fail(a.NameRange, "key.%s: no such setting; there are %s", name, strings.Join(known, ", "))
			continue
		}
		v, diags := a.Expr.Value(nil)
		if r.diags = append(r.diags, diags...); diags.HasErrors() {
			continue
		}
		for _, text := range r.texts("key."+name, v, a.Expr.Range()) {
			err := f.Set(name, text)
			if name == "priority" {
				k.Priority, err = admit.ParsePriority(text)
			}
			if err != nil && err.Error() == "parse error" {
				err = fmt.Errorf("want a number")
			}
			if err != nil {
				r.fail(a.Expr.Range(), "key.%s = %q: %v", name, text, err)
			}
		}
	}
	for _, inner := range b.Body.Blocks {
		r.fail(inner.TypeRange, "%s: no block may be in key", inner.Type)
	}
	r.keys = append(r.keys, k)
}
