package admit

import "time"

// Rejected is why a request is not served, in words for the client.
type Rejected struct {
	Code       int // 429: this key asks too much. 503: all of them together do
	Reason     string
	Message    string
	RetryAfter time.Duration // from a second to a minute
}

func (r *Rejected) Error() string { return r.Message }

// Values of Rejected.Reason; the list is closed, for it is a metric's label.
const (
	QueueFull     = "queue_full"
	WaitedTooLong = "waited_too_long"
	KeyBusy       = "key_busy"
	KeyRate       = "key_rate"
)

// Reasons lists every Rejected.Reason.
func Reasons() []string { return []string{QueueFull, WaitedTooLong, KeyBusy, KeyRate} }
