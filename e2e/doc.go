// Package e2e holds the tests on real agents (build tag e2e; `make e2e`): one
// cluster, the committed job file, and the faults that users meet.
//
// The steps of TestCluster share the cluster and run in order; each names what
// must hold for a user. Everything runs on loopback and is bounded in time.
package e2e
