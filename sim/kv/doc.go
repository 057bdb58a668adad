// Package kv is the simulated KV cache: a pool of blocks with reference
// counts, prefix caching and real contents.
//
// The contents stand for the keys and values of a transformer. Each position
// holds one number that depends on its token and on everything before it, and
// the next token depends on all the numbers, so that tokens generated over
// blocks that hold another prompt's contents come out different.
//
// A Pool belongs to one goroutine, the engine's.
package kv
