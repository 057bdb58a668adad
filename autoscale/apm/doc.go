// Package apm is the autoscaler APM "vllm": it answers one signal of one
// group from that group's own instances, found in Consul and scraped directly.
//
// Each Query runs on the caller's goroutine, starts one short-lived goroutine
// for each instance that it scrapes, and waits for all of them before it
// returns. Nothing runs between queries. Two things are remembered from one
// query to the next, under one lock that is never held across I/O: recent
// points of each query, so that a window has more than one, and each
// instance's transfer counters, so that what happened lately can be told from
// what happened ever. Both are lost when the autoscaler restarts or fails over;
// the type memory says what is answered until they are back.
package apm
