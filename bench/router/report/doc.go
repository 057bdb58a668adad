// Package report keeps a run's figures and shows them: as a table in a
// terminal, as a page with a picture, and beside the limits. Pure, but
// for the files that it is asked to read and write; no goroutines.
package report
