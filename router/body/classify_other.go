//go:build !amd64 || purego

package body

// hasBlocks is whether classify is there.
const hasBlocks = false

func classify(*[blockSize]byte) (quotes, backslashes, control, high uint64) { panic("no blocks here") }
