package strategy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad-autoscaler/sdk"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
)

// Input is everything that a decision depends on.
type Input struct {
	// Name of the signal, for the reason.
	Name string
	// Now is the newest point. It alone may ask for more instances.
	Now float64
	// Peak is the highest point of the query window. Only what would have
	// been enough for it may be taken away.
	Peak float64
	// Count is how many instances there are.
	Count int64
	Rules Rules
}

// Decision is a count and why.
type Decision struct {
	Count     int64
	Direction sdk.ScaleDirection
	Reason    string
}

// mostInstances bounds what a broken metric can ask for; the policy's max
// caps it to something sensible.
const mostInstances = 1 << 20

// Decide says how many instances there should be. A signal above its target
// grows the group to what brings it back; a signal whose peak would stay below
// ScaleDownBelow of the target on fewer instances shrinks it; between the two
// nothing moves, so that what one decision did the next does not undo. It
// never shrinks a group to nothing: nobody would be left to measure.
func Decide(in Input) Decision {
	need := in.instances(in.Now, in.Rules.Target)
	if need > in.Count {
		return in.up(need)
	}
	enough := max(1, in.instances(max(in.Now, in.Peak), in.Rules.Target*in.Rules.ScaleDownBelow))
	if enough < in.Count {
		return in.down(enough)
	}
	reason := in.arithmetic(in.Now, need)
	if need < in.Count { // say why it does not shrink
		reason += "; " + in.ofPeak(enough)
	}
	return in.stay(reason)
}

// instances is how many it takes for each to carry at most share of the value.
func (in Input) instances(value, share float64) int64 {
	if in.Rules.Kind == signal.Level {
		value *= float64(max(1, in.Count)) // what each feels, times how many feel it
	}
	n := math.Ceil(value/share - 1e-9) // 1e-9: 0.3/0.1 is a hair above 3
	if !(n > 0) {                      // NaN too, of an absurdly small target
		return 0
	}
	return int64(min(n, mostInstances))
}

func (in Input) up(need int64) Decision {
	count, limit := need, in.Rules.MaxScaleUp
	reason := in.arithmetic(in.Now, need)
	switch {
	case limit == 0:
		return in.stay(reason + ", but max_scale_up is 0")
	case limit != NoLimit && need-in.Count > limit:
		count = in.Count + limit
		reason += fmt.Sprintf(", capped to +%d -> %d", limit, count)
	}
	return Decision{Count: count, Direction: sdk.ScaleDirectionUp, Reason: reason}
}

func (in Input) down(enough int64) Decision {
	count, limit := enough, in.Rules.MaxScaleDown
	reason := in.Name + " " + in.ofPeak(enough)
	switch {
	case limit == 0:
		return in.stay(reason + ", but max_scale_down is 0")
	case limit != NoLimit && in.Count-enough > limit:
		count = in.Count - limit
		reason += fmt.Sprintf(", capped to -%d -> %d", limit, count)
	}
	return Decision{Count: count, Direction: sdk.ScaleDirectionDown, Reason: reason}
}

func (in Input) stay(reason string) Decision {
	return Decision{Count: in.Count, Direction: sdk.ScaleDirectionNone,
		Reason: fmt.Sprintf("%s, count stays %d", reason, in.Count)}
}

// ofPeak tells how the window's peak became the least count: "at most 3 in the
// window, at 50% of target -> 2".
func (in Input) ofPeak(enough int64) string {
	return fmt.Sprintf("at most %s in the window, at %s%% of target -> %d",
		in.format(max(in.Now, in.Peak)), number(100*in.Rules.ScaleDownBelow), enough)
}

// arithmetic tells how a value became a count: "queue_depth 23 / target 4 per
// instance -> 6".
func (in Input) arithmetic(value float64, need int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s / target %s", in.Name, in.format(value), in.format(in.Rules.Target))
	if in.Rules.Kind == signal.Level {
		fmt.Fprintf(&b, " x %d instances", max(1, in.Count))
	} else {
		b.WriteString(" per instance")
	}
	fmt.Fprintf(&b, " -> %d", need)
	return b.String()
}

func (in Input) format(v float64) string {
	if in.Rules.Unit == signal.Seconds && v < 1e6 {
		return time.Duration(v * float64(time.Second)).Round(10 * time.Microsecond).String()
	}
	return number(v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }
