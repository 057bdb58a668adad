// Package pool decides which instances may serve a request: pools by model,
// role and compat over one snapshot. Which of them does is for package choose.
// A Table is immutable, and no goroutine is started.
package pool
