package jobspec

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

//go:embed pd.nomad.hcl.tmpl
var jobTemplate string

// page is what the template sees: the service, and what follows from it.
type page struct {
	Service
	Load     string // a server's time to become healthy
	Progress string // progress_deadline: Nomad wants it longer than Load
	Kill     string // kill_timeout: the drain, and half as much to die in
	Finish   string // the router's -drain-timeout: shorter than Kill
	Lease    int    // seconds that a prefill keeps KV; 0: vLLM's default
}

// Render writes the Nomad job file of a service that ParseService returned.
// The same service gives the same bytes, formatted as `nomad fmt` would.
func Render(s Service) ([]byte, error) {
	load, err := time.ParseDuration(s.Timeouts.Load)
	if err != nil {
		return nil, fmt.Errorf("timeouts.load: %w", err)
	}
	drain, err := time.ParseDuration(s.Timeouts.Drain)
	if err != nil {
		return nil, fmt.Errorf("timeouts.drain: %w", err)
	}
	var lease time.Duration
	if s.Timeouts.Lease != "" {
		if lease, err = time.ParseDuration(s.Timeouts.Lease); err != nil {
			return nil, fmt.Errorf("timeouts.lease: %w", err)
		}
	}
	kill := killTimeout(drain)
	t, err := template.New("pd.nomad.hcl").Funcs(template.FuncMap{
		"q":     quote,
		"list":  list,
		"args":  roleArgs,
		"tp":    tensorParallel,
		"query": func(metric, group, job string) string { return quote(metric + "/" + group + "/" + job) },
	}).Parse(jobTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the job template: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, page{
		Service:  s,
		Load:     FormatDuration(load),
		Progress: FormatDuration(load + 5*time.Minute),
		Kill:     FormatDuration(kill),
		Finish:   FormatDuration((drain + (kill-drain)/2).Truncate(time.Second)),
		Lease:    int(lease / time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("fill the job template: %w", err)
	}
	return hclwrite.Format(out.Bytes()), nil
}

// killTimeout is the kill_timeout, in whole seconds, of which the driver lets
// vLLM drain for as long as it is told here: two thirds.
func killTimeout(drain time.Duration) time.Duration {
	return (drain*3/2 + time.Second - 1).Truncate(time.Second)
}

// quote writes a string as an HCL literal, so that no value can end the string
// or start an interpolation.
func quote(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

// list writes strings as an HCL list: on one line if short, else one a line.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	line := "[" + strings.Join(quoted, ", ") + "]"
	if len(line) <= 72 {
		return line
	}
	return "[\n" + strings.Join(quoted, ",\n") + ",\n]"
}

// roleArgs are the vLLM arguments of one role: engine_args and the group's own.
func roleArgs(g *Group) string {
	if len(g.Args) == 0 {
		return "var.engine_args"
	}
	return "concat(var.engine_args, " + list(g.Args) + ")"
}

// tensorParallel is the tensor_parallel_size of one role: its GPUs, unless the
// arguments say how they are used. 0 leaves the key out.
func tensorParallel(p page, g *Group) int {
	if _, written, _ := GPUs(nil, slices.Concat(p.EngineArgs, g.Args)); written || g.GPUs == 1 {
		return 0
	}
	return g.GPUs
}
