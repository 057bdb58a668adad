// Package profile holds the latency models: how long a simulated engine takes
// to load, to compute a step, to hand KV over. It is pure data and arithmetic.
package profile

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Profile is the behaviour in time of one model on one kind of device.
type Profile struct {
	Name string
	// Load is the time from start to the first healthy answer.
	Load time.Duration
	// Request is what the API server adds to each request before the engine
	// sees it.
	Request time.Duration
	// Step is the least time of a forward pass.
	Step time.Duration
	// PrefillToken is added for each prompt token that a pass computes, and
	// PrefillPair for each pair of such a token and a token before it
	// (attention), in picoseconds because it is far below a nanosecond.
	PrefillToken  time.Duration
	PrefillPairPs float64
	// ContextToken is added for each token in the context of each sequence
	// that a pass extends by one.
	ContextToken time.Duration
	// Handshake is the first contact of a decode with a prefill.
	Handshake time.Duration
	// TransferPost is the fixed time of a transfer, Bandwidth its bytes per
	// second.
	TransferPost time.Duration
	Bandwidth    float64
	// Receive and ReceiveToken are what the decode adds to a transfer before
	// the request can run, fixed and for each token.
	Receive      time.Duration
	ReceiveToken time.Duration

	// KVBytesPerToken is the size of the model's KV cache for one token, as
	// metrics report it.
	KVBytesPerToken int
	Layers          int
	// KVTokens is how many tokens the KV cache holds unless a flag says
	// otherwise; MaxModelLen and MaxBatchedTokens are defaults of the flags
	// of those names.
	KVTokens         int
	MaxModelLen      int
	MaxBatchedTokens int
	MaxNumSeqs       int
}

// Fast is the default: everything takes milliseconds, loading about a second.
func Fast() Profile {
	return Profile{
		Name: "fast", Load: time.Second,
		Step: 2 * time.Millisecond, PrefillToken: 5 * time.Microsecond, PrefillPairPs: 50, ContextToken: 2 * time.Nanosecond,
		Handshake: 5 * time.Millisecond, TransferPost: 500 * time.Microsecond, Bandwidth: 2e9,
		Receive: 500 * time.Microsecond, ReceiveToken: 100 * time.Nanosecond,
		KVBytesPerToken: 2048, Layers: 4, KVTokens: 1 << 18, MaxModelLen: 32768, MaxBatchedTokens: 2048, MaxNumSeqs: 256,
	}
}

// H200Llama8B is Llama-3.1-8B on an H200 with NVLink between prefill and
// decode, fitted to single-request measurements of vLLM 0.26.
func H200Llama8B() Profile {
	return Profile{
		Name: "h200-llama-8b", Load: 55 * time.Second,
		Request: 3300 * time.Microsecond,
		Step:    4720 * time.Microsecond, PrefillToken: 22 * time.Microsecond, PrefillPairPs: 890, ContextToken: 33 * time.Nanosecond,
		Handshake: 250 * time.Millisecond, TransferPost: 1900 * time.Microsecond, Bandwidth: 375e9,
		Receive: 6500 * time.Microsecond, ReceiveToken: 1900 * time.Nanosecond,
		KVBytesPerToken: 128 << 10, Layers: 32, KVTokens: 860_000, MaxModelLen: 131072, MaxBatchedTokens: 8192, MaxNumSeqs: 1024,
	}
}

// ByName finds a profile; the empty name is Fast.
func ByName(name string) (Profile, error) {
	all := map[string]Profile{}
	for _, p := range []Profile{Fast(), H200Llama8B()} {
		all[p.Name] = p
	}
	if name == "" {
		name = Fast().Name
	}
	p, ok := all[name]
	if !ok {
		var names []string
		for n := range all {
			names = append(names, n)
		}
		sort.Strings(names)
		return Profile{}, fmt.Errorf("profile %q: want one of %s", name, strings.Join(names, ", "))
	}
	return p, nil
}

// Scale makes everything but loading take f times as long.
func (p Profile) Scale(f float64) Profile {
	for _, d := range []*time.Duration{&p.Request, &p.Step, &p.PrefillToken, &p.ContextToken, &p.Handshake, &p.TransferPost, &p.Receive, &p.ReceiveToken} {
		*d = time.Duration(float64(*d) * f)
	}
	p.PrefillPairPs *= f
	p.Bandwidth /= f
	return p
}

// Work is one sequence's share of a forward pass: Tokens new tokens after
// Context older ones.
type Work struct {
	Tokens, Context int
}

// Pass is the time of a forward pass over a batch.
func (p Profile) Pass(batch []Work) time.Duration {
	d := p.Step
	for _, w := range batch {
		if w.Tokens == 1 {
			d += time.Duration(w.Context) * p.ContextToken
			continue
		}
		n, c := float64(w.Tokens), float64(w.Context)
		pairs := n*c + n*n/2
		d += time.Duration(w.Tokens)*p.PrefillToken + time.Duration(pairs*p.PrefillPairPs/1000)
	}
	return d
}

// Transfer is the time on the wire of the KV of n tokens.
func (p Profile) Transfer(n int) time.Duration {
	return p.TransferPost + time.Duration(float64(n*p.KVBytesPerToken)/p.Bandwidth*float64(time.Second))
}

// Receipt is what the decode adds to a transfer of n tokens.
func (p Profile) Receipt(n int) time.Duration {
	return p.Receive + time.Duration(n)*p.ReceiveToken
}
