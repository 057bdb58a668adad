// Package handoff shapes the bodies of the two legs of vLLM's NIXL protocol
// and checks what the first leg returns. A connector with another protocol is
// another file here.
//
// kv_transfer_params is opaque: single use, passed on as it came, never
// logged, never taken from a client. The package is pure and keeps no state.
package handoff
