// Package tokens is the simulator's tokenizer: text to token ids and back
// without a vocabulary file, and a small list of words for generated text.
//
// It is pure: no state, no goroutine.
package tokens
