// Package enginelog reads vLLM's log, one line at a time: how far a start has
// come, and which failure a line gives away. It is pure and starts nothing;
// the shim feeds it, because the shim sees every line and outlives the plugin,
// and the driver puts what was seen into words for a user.
package enginelog
