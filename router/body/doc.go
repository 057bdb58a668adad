// Package body edits the top level of a JSON object by byte offsets. What is
// not edited stays byte for byte as the client wrote it: order, spacing,
// numbers of any size, unknown fields. Python's json module reads the result
// on the other side, so wherever the two languages could read a document
// differently this package refuses it or edits every occurrence.
//
// It is pure: no goroutine, no state.
package body
