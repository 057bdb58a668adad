package main

// ballast is memory that is never touched, and so never there, but counted by
// the garbage collector, which runs when the heap has doubled. A router keeps
// next to nothing alive, so without it the collector would run dozens of times
// a second to free a few megabytes, and take a tenth of the router's time.
const ballast = 32 << 20

// steadyHeap takes the ballast on board; it must be kept alive while serving.
func steadyHeap() []byte { return make([]byte, ballast) }
