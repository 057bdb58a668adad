// Package router takes OpenAI requests in and serves each in two legs: the
// prompt by a prefill instance, the answer by a decode instance that fetches
// the prompt's KV from it. What two legs cannot carry goes the local way, to
// a decode alone, counted with its reason.
//
// A Server starts no goroutine of its own (apart from the short parallel reads
// of /v1/models, which end before their handler does). Run, which whoever owns
// it starts, learns what the instances serve: see package roster. Each request
// is one trip, owned by the goroutine that the HTTP server gave it: it reads one
// fleet snapshot per attempt, runs leg 1, then leg 2, and relays. Both legs run
// under the request's context, so a client that leaves cancels them.
package router
