package lint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Severity says what becomes of a job with the finding.
type Severity string

const (
	// Error: the job does not run, or does not do what it is for.
	Error Severity = "error"
	// Warning: the job runs, and something will go wrong with it or may.
	Warning Severity = "warning"
)

// Finding is one mistake in one place.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // from 1
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`    // the rule's id, a section of docs/lint.md
	Message  string   `json:"message"` // what is wrong
	Fix      string   `json:"fix"`     // how to mend it
}

// String is the finding on one line, as compilers write theirs.
func (f Finding) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Severity, f.Message)
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s + " [" + f.Rule + "]"
}

// Count is how many findings of each severity there are.
func Count(findings []Finding) (errors, warnings int) {
	for _, f := range findings {
		if f.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// reporter collects one rule's findings.
type reporter struct {
	rule     string
	findings []Finding
}

func (r *reporter) errorf(at hcl.Range, fix, format string, args ...any) {
	r.add(Error, at, fix, fmt.Sprintf(format, args...))
}

func (r *reporter) warnf(at hcl.Range, fix, format string, args ...any) {
	r.add(Warning, at, fix, fmt.Sprintf(format, args...))
}

func (r *reporter) add(s Severity, at hcl.Range, fix, message string) {
	r.findings = append(r.findings, Finding{
		File: at.Filename, Line: at.Start.Line, Column: at.Start.Column,
		Severity: s, Rule: r.rule, Message: message, Fix: fix,
	})
}

// inOrder sorts findings as one reads the file, and drops those said twice: a
// place that a dynamic block repeats is still one mistake.
func inOrder(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(findings)
}
