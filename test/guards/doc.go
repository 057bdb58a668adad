// Package guards holds the pieces of the router that make the rows of
// docs/failures.md hold, each with the source that lacks it. A row that passes
// without its guard would be a test of nothing.
//
// The ordinary test checks that the table still fits the source and the
// document. With the build tag "guards" (`make guards-router`) each guard is
// taken away, by an overlay and never in the working tree, and the rows that it
// holds must fail. Nothing is served here and no goroutine is started: each
// guard is one run of the go command, which is waited for.
package guards
