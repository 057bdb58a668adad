// Package serve reads the command line of `vllm serve`: its flags in all their
// spellings, and the settings that they come down to. It is pure.
package serve
