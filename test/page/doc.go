// Package page holds the tests of the router's status page in a real browser,
// on simulators and under load.
//
// They have the build tag "browser" and need Chromium; `make test-page` runs
// them. One browser serves all of them, and ends before they do.
package page
