package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

// lintCommand is `nomad-vllm job lint`.
type lintCommand struct {
	ui  cli.Ui
	in  io.Reader // what "-" reads
	out io.Writer // where -json goes
}

func (c *lintCommand) Synopsis() string { return "Find mistakes in a Nomad job file" }

func (c *lintCommand) Help() string {
	var rules strings.Builder
	for _, r := range lint.Rules() {
		fmt.Fprintf(&rules, "  %-19s %s\n", r.ID, r.What)
	}
	return strings.TrimSpace(fmt.Sprintf(`
Usage: nomad-vllm job lint [options] FILE...

  Checks Nomad job files against what the task driver, the router, the
  autoscaler and vLLM expect of them. Each finding is one line:

    FILE:LINE:COLUMN: error or warning: what is wrong; how to mend it [rule]

  A FILE may be - for standard input. Job files that have nothing to do with
  vLLM pass. Nothing is asked of a cluster.

Options:

  -json            Print the findings as a JSON array.
  -load=DURATION   How long a server takes from its start to its first good
                   health check; deadlines must be longer. Default: %s.
  -var NAME=VALUE  Set an HCL variable of the job; may be repeated.
  -var-file=FILE   Read HCL variables from FILE; may be repeated.

Exit codes: 0 no error was found, 1 at least one was, 2 wrong usage or a file
that cannot be read. Warnings do not change the code.

Rules (docs/lint.md has a section on each):

%s`, jobspec.FormatDuration(lint.DefaultLoad), rules.String()))
}

func (c *lintCommand) AutocompleteArgs() complete.Predictor { return complete.PredictFiles("*.hcl") }

func (c *lintCommand) AutocompleteFlags() complete.Flags {
	return complete.Flags{
		"-json":     complete.PredictNothing,
		"-load":     complete.PredictAnything,
		"-var":      complete.PredictAnything,
		"-var-file": complete.PredictFiles("*.hcl"),
	}
}

func (c *lintCommand) Run(args []string) int {
	flags := jobFlags("job lint")
	asJSON := flags.Bool("json", false, "")
	opts := lint.Options{Env: os.Environ()}
	flags.DurationVar(&opts.Load, "load", lint.DefaultLoad, "")
	flags.Var((*listFlag)(&opts.Vars), "var", "")
	flags.Var((*listFlag)(&opts.VarFiles), "var-file", "")
	if code, done := parseFiles(c.ui, flags, c.Help(), args, 0); done {
		return code
	}
	if opts.Load < time.Second {
		c.ui.Error(fmt.Sprintf("nomad-vllm job lint: -load %s is too short to load any model; write 90s or 5m for example", opts.Load))
		return 2
	}
	findings, err := c.lint(flags.Args(), opts)
	if err == nil && *asJSON {
		err = c.printJSON(findings)
	} else if err == nil {
		c.print(findings)
	}
	if err != nil {
		c.ui.Error("nomad-vllm job lint: " + err.Error())
		return 2
	}
	if errors, _ := lint.Count(findings); errors > 0 {
		return 1
	}
	return 0
}

func (c *lintCommand) lint(paths []string, opts lint.Options) ([]lint.Finding, error) {
	for _, path := range opts.VarFiles {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("read variables file: %w", err)
		}
	}
	findings := []lint.Finding{} // so that nothing found is [] in JSON
	for _, path := range paths {
		name, src, err := readFile("job file", path, c.in)
		if err != nil {
			return nil, err
		}
		findings = append(findings, lint.File(name, src, opts)...)
	}
	return findings, nil
}

func (c *lintCommand) print(findings []lint.Finding) {
	for _, f := range findings {
		c.ui.Output(f.String())
	}
	if len(findings) > 0 {
		errors, warnings := lint.Count(findings)
		c.ui.Output(fmt.Sprintf("\n%s, %s", count(errors, "error"), count(warnings, "warning")))
	}
}

func (c *lintCommand) printJSON(findings []lint.Finding) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(findings); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

// count writes "1 error", "2 errors".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
