package pd

// Path is how a request was served.
type Path string

const (
	// PathDisaggregated: a prefill read the prompt and a decode wrote the answer.
	PathDisaggregated Path = "disaggregated"
	// PathLocal: the decode instance computed the prompt itself. It always has a Reason.
	PathLocal Path = "local"
)

// Reason says why a request took PathLocal. The list is closed: it is a metric
// label, and a request that lost disaggregation without one of these is a bug.
type Reason string

const (
	ReasonNone               Reason = ""                    // disaggregated
	ReasonMultipleChoices    Reason = "multiple_choices"    // n, best_of or beam search: only one choice's KV is handed over
	ReasonListPrompt         Reason = "list_prompt"         // /v1/completions with several prompts: only the first one's KV is handed over
	ReasonUnsupportedRequest Reason = "unsupported_request" // anything else that the two-leg protocol cannot carry
	ReasonNoPrefillInstance  Reason = "no_prefill_instance" // no usable prefill for the model and compat
	ReasonPrefillFailed      Reason = "prefill_failed"      // every prefill leg that was tried failed
	ReasonNoTransferParams   Reason = "no_transfer_params"  // the prefill answered 200 without usable kv_transfer_params
	ReasonHandoffFailed      Reason = "handoff_failed"      // the decode could not take over what a prefill had ready
	ReasonShortPrompt        Reason = "short_prompt"        // disaggregation would not pay
	ReasonCachedPrefix       Reason = "cached_prefix"       // the decode already holds most of the prompt
	ReasonNotGenerative      Reason = "not_generative"      // the endpoint writes no answer from a prompt: there is nothing to hand over
)

// Reasons lists every reason of PathLocal, so that each is exported as zero before it first happens.
func Reasons() []Reason {
	return []Reason{
		ReasonMultipleChoices, ReasonListPrompt, ReasonUnsupportedRequest,
		ReasonNoPrefillInstance, ReasonPrefillFailed, ReasonNoTransferParams,
		ReasonHandoffFailed, ReasonShortPrompt, ReasonCachedPrefix, ReasonNotGenerative,
	}
}
