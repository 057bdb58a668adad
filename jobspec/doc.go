// Package jobspec turns a short description of a prefill/decode service into a
// Nomad job file, and holds what both the renderer and the linter (package
// lint) must know of the task driver's configuration.
//
// Job files are text here: nothing is run, no agent is asked, no goroutine is
// started and no state is kept.
package jobspec
