// Package lint checks Nomad job files against the contract of a prefill/decode
// deployment: what the task driver, the router and the autoscaler expect of a
// job, and what vLLM does to a job that gets it wrong. It looks for mistakes,
// not for style, and a job file that has nothing to do with vLLM passes.
//
// A file is read twice: by Nomad's own parser, whose complaints become findings
// of the rule "nomad", and as a syntax tree, because only that knows lines and
// columns. Rules see the tree through job.go, with variables and locals
// evaluated; a value that cannot be known before run time is never a finding.
//
// Each rule has a file rule_*.go, one line in the table of rules.go, and a
// section in docs/lint.md. Nothing is run, no agent is asked, no goroutine is
// started and no state is kept.
package lint
