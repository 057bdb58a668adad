package pd

// Headers of the contract. The router sets the x-pd-* ones on its responses
// and passes none of a client on.
const (
	// HeaderPrefix starts every header that belongs to the contract.
	HeaderPrefix = "X-Pd-"

	HeaderPath    = "X-Pd-Path"    // a Path
	HeaderReason  = "X-Pd-Reason"  // a Reason, absent when disaggregated
	HeaderPrefill = "X-Pd-Prefill" // the prefill instance's ID, absent on the local path
	HeaderDecode  = "X-Pd-Decode"  // the decode instance's ID

	// HeaderPriority is the client's: low, normal or high. It is not passed on.
	HeaderPriority = "X-Pd-Priority"

	// HeaderRequestID is the same on both legs and on the reply. vLLM builds
	// its own request ids from it (X-Request-Id in its OpenAI server).
	HeaderRequestID = "X-Request-Id"

	// HeaderServerTiming carries the legs' times in the W3C form
	// "prefill;dur=12.3, decode;dur=45.6" (milliseconds; decode's is the time
	// to its response headers).
	HeaderServerTiming = "Server-Timing"
)
