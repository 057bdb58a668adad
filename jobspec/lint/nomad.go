package lint

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/jobspec2"
)

// ruleNomad is the id of what Nomad's own parser says. It has no line in the
// table of rules, because it does not see the job but the file.
const ruleNomad = "nomad"

// nomadFindings parses the file as `nomad job run` would.
func nomadFindings(name string, src []byte, opts Options) []Finding {
	_, err := jobspec2.ParseWithConfig(&jobspec2.ParseConfig{
		Path:     name,
		Body:     src,
		ArgVars:  opts.Vars,
		VarFiles: opts.VarFiles,
		Envs:     opts.Env,
		Strict:   true,
	})
	if err == nil {
		return nil
	}
	var diags hcl.Diagnostics
	if errors.As(err, &diags) {
		return fromDiagnostics(name, diags)
	}
	findings := fromText(name, err.Error())
	for i := range findings {
		placeVariable(&findings[i], src)
	}
	return findings
}

// unset is Nomad's complaint about a variable without a value. It comes
// without a place.
var unset = regexp.MustCompile(`variable "([^"]+)"`)

// placeVariable puts a finding that names a variable where the variable is declared.
func placeVariable(f *Finding, src []byte) {
	m := unset.FindStringSubmatch(f.Message)
	if m == nil || f.Line > 1 {
		return
	}
	file, _ := hclsyntax.ParseConfig(src, f.File, hcl.InitialPos)
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "variable" && len(b.Labels) == 1 && b.Labels[0] == m[1] {
			f.Line, f.Column = b.DefRange().Start.Line, b.DefRange().Start.Column
		}
	}
}

// fromDiagnostics turns the parser's own kind of findings into ours. One without a
// place (about -var, for example) is put at the start of the file.
func fromDiagnostics(name string, diags hcl.Diagnostics) []Finding {
	r := &reporter{rule: ruleNomad}
	for _, d := range diags {
		at := hcl.Range{Filename: name, Start: hcl.InitialPos}
		if d.Subject != nil && d.Subject.Filename != "" {
			at = *d.Subject
		}
		r.errorf(at, oneLine(d.Detail), "%s", d.Summary)
	}
	return r.findings
}

// diagnostic is how an hcl.Diagnostic reads once Nomad's parser has flattened
// several into one text: "file:line,col-endcol: summary; detail".
var diagnostic = regexp.MustCompile(`^(.*?):(\d+),(\d+)-[\d,]+: (.*)$`)

// fromText recovers the findings from such a text. A line that does not look
// like one belongs to the finding before it.
func fromText(name, text string) []Finding {
	r := &reporter{rule: ruleNomad}
	for _, line := range strings.Split(text, "\n") {
		m := diagnostic.FindStringSubmatch(line)
		switch last := len(r.findings) - 1; {
		case m != nil:
			at := hcl.Range{Filename: m[1]}
			at.Start.Line, _ = strconv.Atoi(m[2])
			at.Start.Column, _ = strconv.Atoi(m[3])
			if at.Filename == "" {
				at = hcl.Range{Filename: name, Start: hcl.InitialPos}
			}
			what, detail, _ := strings.Cut(m[4], "; ")
			r.errorf(at, detail, "%s", what)
		case last >= 0:
			r.findings[last].Fix = oneLine(r.findings[last].Fix + " " + line)
		default:
			what, detail, _ := strings.Cut(strings.TrimPrefix(line, "<nil>: "), "; ")
			r.errorf(hcl.Range{Filename: name, Start: hcl.InitialPos}, detail, "%s", oneLine(what))
		}
	}
	return r.findings
}

// oneLine keeps a finding on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
