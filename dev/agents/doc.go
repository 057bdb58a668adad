// Package agents finds the HashiCorp agents that a development cluster needs
// (nomad, consul, nomad-autoscaler) or builds pinned versions of them from the
// Go module proxy into a cache that later runs share.
//
// Nothing is downloaded as a binary: each agent is an ordinary Go program,
// compiled in a module of its own whose go.mod and go.sum are embedded here,
// so that what is built is checked against committed hashes. The package
// starts one goroutine per build, which reads the compiler's output and ends
// with it.
package agents
