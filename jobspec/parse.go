package jobspec

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// ParseService reads a service description; name stands in the messages. The
// error holds every problem found, each with file:line:col.
func ParseService(name string, src []byte) (Service, error) {
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return Service{}, problems(diags)
	}
	body := file.Body.(*hclsyntax.Body)
	block, diags := onlyService(body)
	if diags.HasErrors() {
		return Service{}, problems(diags)
	}
	s := newService()
	s.Name = block.Labels[0]
	diags = gohcl.DecodeBody(block.Body, nil, &s)
	diags = append(diags, missingBlocks(block)...)
	if !diags.HasErrors() {
		complete(&s)
		diags = append(diags, validate(&s, block)...)
	}
	if diags.HasErrors() {
		return Service{}, problems(diags)
	}
	return s, nil
}

// onlyService finds the file's one service block.
func onlyService(body *hclsyntax.Body) (*hclsyntax.Block, hcl.Diagnostics) {
	var root struct {
		Service []struct {
			Name   string   `hcl:"name,label"`
			Remain hcl.Body `hcl:",remain"`
		} `hcl:"service,block"`
	}
	if diags := gohcl.DecodeBody(body, nil, &root); diags.HasErrors() {
		return nil, diags
	}
	switch len(body.Blocks) {
	case 1:
		return body.Blocks[0], nil
	case 0:
		return nil, hcl.Diagnostics{problem(body.EndRange, "no service described", `write service "NAME" { ... }`)}
	}
	return nil, hcl.Diagnostics{problem(body.Blocks[1].DefRange(), "a second service", "one file describes one service; give this one its own file")}
}

// missingBlocks reports the required blocks that are not there: a default in
// their place would start servers that nobody asked for.
func missingBlocks(service *hclsyntax.Block) (diags hcl.Diagnostics) {
	for _, want := range []string{"prefill", "decode"} {
		if find(service, want) == nil {
			diags = append(diags, problem(service.DefRange(), fmt.Sprintf("no %s block", want),
				fmt.Sprintf("add %s { count = 1 }", want)))
		}
	}
	return diags
}

// find is the first block of a type inside another, nil if there is none.
func find(in *hclsyntax.Block, kind string) *hclsyntax.Block {
	for _, b := range in.Body.Blocks {
		if b.Type == kind {
			return b
		}
	}
	return nil
}

// complete sets the defaults that depend on other fields.
func complete(s *Service) {
	for _, g := range []*Group{s.Prefill, s.Decode} {
		if g.Max == 0 {
			g.Max = g.Count
		}
	}
}

func problem(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// problems joins diagnostics into one error, a line for each.
func problems(diags hcl.Diagnostics) error {
	var errs []error
	for _, d := range diags {
		where := ""
		if d.Subject != nil {
			where = fmt.Sprintf("%s:%d:%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
		}
		errs = append(errs, fmt.Errorf("%s%s; %s", where, d.Summary, d.Detail))
	}
	return errors.Join(errs...)
}
