package strategy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
)

// NoLimit as a MaxScaleUp or MaxScaleDown: a step of any size. It is not 0,
// because 0 means something to whoever writes it: never because of this check.
const NoLimit int64 = -1

// The keys of a check's strategy block.
const (
	keyTarget         = "target"
	keyKind           = "kind"
	keyMaxScaleUp     = "max_scale_up"
	keyMaxScaleDown   = "max_scale_down"
	keyScaleDownBelow = "scale_down_below"
)

var knownKeys = []string{keyTarget, keyKind, keyMaxScaleUp, keyMaxScaleDown, keyScaleDownBelow}

// Rules are a check's strategy block, typed.
type Rules struct {
	// Target is the value to keep each instance at or below: a number, or a
	// time such as "250ms" for a signal in seconds. Required, above 0.
	Target float64
	// Kind of the signal. Default: known from the query if it is one of our
	// APM's; for another source it must be said ("sum" or "level").
	Kind signal.Kind
	// Unit of the signal, for reasons; empty for another source's query.
	Unit signal.Unit
	// MaxScaleUp is the most instances that one decision adds. Default
	// NoLimit (the policy's max holds); 0 never adds because of this check.
	MaxScaleUp int64
	// MaxScaleDown is the most instances that one decision takes away.
	// Default 1; 0 never takes any away, which as a check without a group
	// also holds back every other check of its policy.
	MaxScaleDown int64
	// ScaleDownBelow is the fraction of the target, above 0 and at most 1,
	// that the instances left over may be filled to by scaling down. Default
	// 0.5. At 1 a group that shrank may have to grow again at once.
	ScaleDownBelow float64
}

// ParseRules reads the strategy block of the check with the given query. It
// returns every problem at once.
func ParseRules(config map[string]string, query string) (Rules, error) {
	r := Rules{MaxScaleUp: NoLimit, MaxScaleDown: 1, ScaleDownBelow: 0.5}
	var errs []error
	fail := func(key, want string) {
		errs = append(errs, fmt.Errorf("strategy %s = %q: %s", key, config[key], want))
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !slices.Contains(knownKeys, key) {
			fail(key, "unknown key; want "+strings.Join(knownKeys, ", "))
		}
	}
	r.setKind(config, query, fail)
	r.setTarget(config, fail)
	for key, into := range map[string]*int64{keyMaxScaleUp: &r.MaxScaleUp, keyMaxScaleDown: &r.MaxScaleDown} {
		s, ok := config[key]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			fail(key, "want a whole number of instances, 0 or more")
		}
		*into = n
	}
	if s, ok := config[keyScaleDownBelow]; ok {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0 && f <= 1) {
			fail(keyScaleDownBelow, "want a fraction of the target, above 0 and at most 1")
		}
		r.ScaleDownBelow = f
	}
	if len(errs) > 0 {
		return Rules{}, errors.Join(errs...)
	}
	return r, nil
}

// setKind takes the kind and the unit from the query, if it is one of ours,
// or from the block.
func (r *Rules) setKind(config map[string]string, query string, fail func(key, want string)) {
	if q, err := signal.ParseQuery(query); err == nil {
		r.Kind, r.Unit = q.Signal.Kind, q.Signal.Unit
	}
	switch k := signal.Kind(config[keyKind]); k {
	case "":
		if r.Kind == "" {
			fail(keyKind, fmt.Sprintf("query %q is not this project's, so say what it measures: %q if more instances share it, %q if more instances lower it",
				query, signal.Sum, signal.Level))
		}
	case signal.Sum, signal.Level:
		if r.Kind != "" && r.Kind != k {
			fail(keyKind, fmt.Sprintf("query %q is a %q; leave the key out", query, r.Kind))
		}
		r.Kind = k
	default:
		fail(keyKind, fmt.Sprintf("want %q or %q", signal.Sum, signal.Level))
	}
}

// setTarget reads a number, or a time where the signal is one.
func (r *Rules) setTarget(config map[string]string, fail func(key, want string)) {
	s, ok := config[keyTarget]
	if !ok {
		fail(keyTarget, "required: the value to keep each instance at or below")
		return
	}
	v, err := strconv.ParseFloat(s, 64)
	if d, derr := time.ParseDuration(s); err != nil && derr == nil {
		if r.Unit == signal.Requests {
			fail(keyTarget, "a time, but the query counts requests; want a number")
			return
		}
		v, err = d.Seconds(), nil
	}
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		fail(keyTarget, "want a number above 0, or a time such as \"250ms\" for a signal in seconds")
	}
	r.Target = v
}
