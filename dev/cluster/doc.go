// Package cluster runs a whole prefill/decode cluster on one machine: a real
// Consul agent, a real Nomad agent with this project's plugins, and a real
// nomad-autoscaler, on loopback, with all state under one directory.
//
// Each agent is a child process with one goroutine that waits for it; that
// goroutine ends with the process. Stop ends the children in the order in
// which they depend on one another and returns when all of them, and every
// task that Nomad started, are gone.
package cluster
