// Package dev is `nomad-vllm dev`: it finds or builds the HashiCorp agents,
// runs them as a cluster on this machine, runs the job, sends a chat completion
// through it, shows what happened, and takes everything down again.
//
// Run works on the calling goroutine; the processes that it starts belong to
// dev/cluster.
package dev
