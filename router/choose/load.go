package choose

import "time"

// Load is what this router has in flight at one instance.
type Load struct {
	Prefills     int   // requests in leg 1
	PrefillBytes int64 // what they have the instance compute: prompt bytes that it is not known to hold
	Decodes      int   // sequences in leg 2 or on the local path
}

func (l *Load) add(d Load, sign int) {
	l.Prefills += sign * d.Prefills
	l.PrefillBytes += int64(sign) * d.PrefillBytes
	l.Decodes += sign * d.Decodes
}

// state is all that is known of one instance.
type state struct {
	own    Load
	report Report
	// reportedAt is when report came; zero: never. ownThen is what we had in
	// flight there at that time, so that the rest of it is the others'.
	reportedAt time.Time
	ownThen    Load
	meanPrompt float64 // bytes, of the prompts that we sent there
	since      time.Time
	weight     float64 // 0: not set, which is 1
}

// reportLife is how long a report says anything. It fades over that time: what
// waited two seconds ago has been served since.
const reportLife = 2 * time.Second

// fade is 1 for a report of this moment and 0 for one that is too old.
func (s *state) fade(now time.Time) float64 {
	if s.reportedAt.IsZero() {
		return 0
	}
	return max(0, 1-float64(now.Sub(s.reportedAt))/float64(reportLife))
}

// waitingElse estimates the sequences that other routers have waiting there.
func (s *state) waitingElse(now time.Time, ownThen int) float64 {
	return max(0, s.report.Waiting-float64(ownThen)) * s.fade(now)
}

// prefillQueue is, in bytes, what the instance has to compute before it gets
// to the next prompt.
func (s *state) prefillQueue(now time.Time) float64 {
	return float64(s.own.PrefillBytes) + s.waitingElse(now, s.ownThen.Prefills)*s.meanPrompt
}

// Sequences that wait, on an instance whose KV cache is full, delay a new one
// more than those that run and share each step with it.
const waitingCost = 4

// decodeCost is what a new sequence meets, in running sequences.
func (s *state) decodeCost(now time.Time) float64 {
	cost := float64(s.own.Decodes) + waitingCost*s.waitingElse(now, s.ownThen.Decodes)
	// Near the end of its KV cache an instance preempts: 95 % full doubles.
	full := s.report.KVUsage * s.fade(now)
	return cost + (cost+1)*full*full*full
}

// share is the part of its fair share that an instance gets: its weight, and
// a ramp while it is new, when its caches are empty and its kernels cold.
func (s *state) share(now time.Time, slowStart time.Duration) float64 {
	w := s.weight
	if w == 0 {
		w = 1
	}
	if age := now.Sub(s.since); slowStart > 0 && age < slowStart {
		w *= max(0.1, float64(age)/float64(slowStart))
	}
	return w
}
