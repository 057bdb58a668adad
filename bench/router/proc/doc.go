// Package proc reads what processes cost from the kernel, and says what
// machine this is. Linux only; no goroutines.
package proc
