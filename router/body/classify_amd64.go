//go:build !purego

package body

// hasBlocks is whether classify is there.
const hasBlocks = true

// classify tells of 64 bytes which are quotes and which are backslashes, a bit
// each, the first byte's the lowest. control is not 0 if any is below 0x20, high
// if any is not ASCII. It is written in assembly, with SSE2, which each amd64
// processor has: a prompt of 200 kB, escapes and all, is what a router's
// own work on a request mostly is.
//
//go:noescape
func classify(p *[blockSize]byte) (quotes, backslashes, control, high uint64)
