package lint

import (
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Options are what a job file does not say itself.
type Options struct {
	// Vars are values of input variables, each "name=value" as for `nomad job run -var`.
	Vars []string
	// VarFiles are paths of files with values of input variables.
	VarFiles []string
	// Env is a process environment; NOMAD_VAR_name sets a variable, as it does
	// for `nomad job run`.
	Env []string
	// Load is how long a server takes from its start to its first good health
	// check. Zero means DefaultLoad.
	Load time.Duration
}

// DefaultLoad is what an 8B model was measured to take on an H200 from a cold
// start, rounded up.
const DefaultLoad = 2 * time.Minute

// File checks one job file; name stands in the findings. They come in the
// order of the file. A file that Nomad cannot parse is a finding too.
func File(name string, src []byte, opts Options) []Finding {
	if opts.Load <= 0 {
		opts.Load = DefaultLoad
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return inOrder(fromDiagnostics(name, diags))
	}
	findings := nomadFindings(name, src, opts)
	body := file.Body.(*hclsyntax.Body)
	j := newJob(body, newScope(body, src, opts), opts)
	if j == nil {
		return inOrder(findings)
	}
	for _, rule := range rules() {
		r := &reporter{rule: rule.ID}
		rule.check(j, r)
		findings = append(findings, r.findings...)
	}
	return inOrder(findings)
}
