package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/nomad-vllm/nomad-vllm/router/admit"
)

// place is where a setting is in the file: attribute or block.attribute.
type place struct{ path, flag string }

// places are all settings that the file may have, each with the flag that sets
// the same and wins over it.
func places() []place {
	return []place{
		{"listen", "listen"},
		{"admin", "admin"},
		{"takeover", "takeover"},
		{"tls.cert_file", "tls-cert"},
		{"tls.key_file", "tls-key"},
		{"trace.endpoint", "trace-endpoint"},
		{"trace.sample", "trace-sample"},
		{"telemetry.statsd_address", "statsd-address"},
		{"telemetry.statsite_address", "statsite-address"},
		{"drain_timeout", "drain-timeout"},
		{"log.level", "log-level"},
		{"log.json", "log-json"},
		{"consul.address", "consul-addr"},
		{"consul.services", "consul-service"},
		{"instances.prefill", "prefill"},
		{"instances.decode", "decode"},
		{"upstream.dial_timeout", "dial-timeout"},
		{"upstream.ca", "upstream-ca"},
		{"prefill.tries", "prefill-tries"},
		{"prefill.timeout", "prefill-timeout"},
		{"prefill.policy", "prefill-policy"},
		{"decode.policy", "decode-policy"},
		{"decode.first_token_timeout", "first-token-timeout"},
		{"decode.answer_timeout", "answer-timeout"},
		{"decode.stall_timeout", "stall-timeout"},
		{"no_fallback", "no-fallback"},
		{"local.below", "local-below"},
		{"breaker.failures", "breaker-failures"},
		{"breaker.open", "breaker-open"},
		{"breaker.max_open", "breaker-max-open"},
		{"breaker.max_ejected", "breaker-max-ejected"},
		{"slow_start", "slow-start"},
		{"limits.max_body", "max-body"},
		{"limits.max_running", "max-running"},
		{"limits.max_waiting", "max-waiting"},
		{"limits.max_wait", "max-wait"},
		{"limits.instance_wait", "instance-wait"},
		{"limits.body_timeout", "body-timeout"},
		{"limits.write_timeout", "write-timeout"},
	}
}

// readFile sets from an HCL file what no flag has set, and returns its keys.
// The error has every problem, each with its line and column.
func readFile(path string, f *flag.FlagSet) ([]admit.Key, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diagnosed(diags)
	}
	r := reader{flags: f, given: map[string]bool{}}
	f.Visit(func(x *flag.Flag) { r.given[x.Name] = true })
	body := file.Body.(*hclsyntax.Body)
	r.attributes("", body)
	for _, b := range body.Blocks {
		r.block(b)
	}
	return r.keys, diagnosed(r.diags)
}

// diagnosed shows each problem on a line of its own.
func diagnosed(diags hcl.Diagnostics) error {
	if !diags.HasErrors() {
		return nil
	}
	var lines []string
	for _, d := range diags {
		text := d.Summary
		if d.Detail != "" {
			text += ": " + strings.TrimSuffix(d.Detail, ".")
		}
		if d.Subject != nil {
			text = fmt.Sprintf("%s:%d,%d: %s", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column, text)
		}
		lines = append(lines, text)
	}
	slices.Sort(lines)
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// reader sets flags from the parts of a file.
type reader struct {
	flags *flag.FlagSet
	given map[string]bool // flags of the command line
	diags hcl.Diagnostics
	seen  []string // blocks
	keys  []admit.Key
}

func (r *reader) fail(at hcl.Range, format string, args ...any) {
	r.diags = append(r.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprintf(format, args...), Subject: &at})
}

func (r *reader) block(b *hclsyntax.Block) {
	if b.Type == "key" {
		r.key(b)
		return
	}
	if !slices.Contains(blocks(), b.Type) {
		r.fail(b.TypeRange, "%s: no such block; there are %s, and key \"NAME\"", b.Type, strings.Join(blocks(), ", "))
		return
	}
	switch {
	case slices.Contains(r.seen, b.Type):
		r.fail(b.TypeRange, "%s: the block is there twice", b.Type)
	case len(b.Labels) > 0:
		r.fail(b.LabelRanges[0], "%s: the block has no label", b.Type)
	}
	r.seen = append(r.seen, b.Type)
	r.attributes(b.Type+".", b.Body)
	for _, inner := range b.Body.Blocks {
		r.fail(inner.TypeRange, "%s: no block may be in %s", inner.Type, b.Type)
	}
}

// blocks are those that the file may have.
func blocks() []string {
	var out []string
	for _, p := range places() {
		if block, _, nested := strings.Cut(p.path, "."); nested {
			out = append(out, block)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *reader) attributes(prefix string, body *hclsyntax.Body) {
	all := places()
	for name, a := range body.Attributes {
		at := slices.IndexFunc(all, func(p place) bool { return p.path == prefix+name })
		if at < 0 {
			r.fail(a.NameRange, "%s%s: no such setting; there are %s", prefix, name, strings.Join(settingsBelow(prefix), ", "))
			continue
		}
		if r.given[all[at].flag] {
			continue
		}
		v, diags := a.Expr.Value(nil)
		if r.diags = append(r.diags, diags...); diags.HasErrors() {
			continue
		}
		for _, text := range r.texts(prefix+name, v, a.Expr.Range()) {
			err := r.flags.Set(all[at].flag, text)
			if err != nil && err.Error() == "parse error" { // package flag says no more
				err = fmt.Errorf("want a value like %s", r.flags.Lookup(all[at].flag).DefValue)
			}
			if err != nil {
				r.fail(a.Expr.Range(), "%s%s = %q: %v", prefix, name, text, err)
			}
		}
	}
}

// settingsBelow are the attributes below a prefix, at the top too.
func settingsBelow(prefix string) []string {
	var out []string
	for _, p := range places() {
		if rest, ok := strings.CutPrefix(p.path, prefix); ok && !strings.Contains(rest, ".") {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

// texts is a value as a flag would be given it, several times for a list.
func (r *reader) texts(name string, v cty.Value, at hcl.Range) []string {
	if v.IsNull() || !v.IsWhollyKnown() {
		return nil
	}
	if v.CanIterateElements() {
		var out []string
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			out = append(out, r.texts(name, element, at)...)
		}
		return out
	}
	text, err := convert.Convert(v, cty.String)
	if err != nil {
		r.fail(at, "%s: %v", name, err)
		return nil
	}
	return []string{text.AsString()}
}
