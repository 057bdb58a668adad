package lint

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A signal is a quantity that the group's instances share, or what each of them
// feels; the first are requests and the second seconds.
const (
	kindSum   = "sum"
	kindLevel = "level"
)

// kindOf repeats, like Metrics, what package autoscale/signal says.
func kindOf(metric string) string {
	if metric == "kv_transfer_latency" {
		return kindLevel
	}
	return kindSum
}

// checkStrategyValues reads the values as the plugin does, which gets each as
// text. A test in the module's root compares the two.
func checkStrategyValues(check, s node, r *reporter) {
	kind, known := queryKind(check)
	checkKind(check, s, kind, known, r)
	checkTarget(s.attr("target"), kind, r)
	for _, key := range []string{"max_scale_up", "max_scale_down"} {
		v := s.attr(key)
		text, set := v.text()
		if n, err := strconv.ParseInt(text, 10, 32); set && (err != nil || n < 0) {
			r.errorf(v.at, "write a whole number of servers, 0 or more", "%s is %q", key, text)
		}
	}
	v := s.attr("scale_down_below")
	text, set := v.text()
	if f, err := strconv.ParseFloat(text, 64); set && (err != nil || !(f > 0 && f <= 1)) {
		r.errorf(v.at, "write a fraction of target, above 0 and at most 1", "scale_down_below is %q", text)
	}
}

// queryKind is the kind of a check's signal, "" if the query is not ours; known
// is false if that cannot be told.
func queryKind(check node) (kind string, known bool) {
	text, known := check.attr("query").text()
	if !known {
		return "", false
	}
	metric, rest, _ := strings.Cut(text, "/")
	group, job, _ := strings.Cut(rest, "/")
	if group != "" && job != "" && !strings.HasSuffix(job, "@") && slices.Contains(Metrics(), metric) {
		return kindOf(metric), true
	}
	// One of our own that is written wrong is another rule's finding.
	source, set := check.attr("source").text()
	return "", set && source != sourceVLLM
}

func checkKind(check, s node, want string, known bool, r *reporter) {
	v := s.attr("kind")
	text, set := v.text()
	switch {
	case v.set && !set:
	case text == "" && want == "" && known:
		at := s.at
		if v.set {
			at = v.at
		}
		r.errorf(at, fmt.Sprintf("write kind = %q if more servers share what the query measures, %q if more of them lower it", kindSum, kindLevel),
			"check %q is not about one of our signals, so strategy %q needs a kind", check.label(), strategyVLLM)
	case text == "":
	case text != kindSum && text != kindLevel:
		r.errorf(v.at, fmt.Sprintf("write %q or %q", kindSum, kindLevel), "kind is %q", text)
	case want != "" && text != want:
		r.errorf(v.at, "leave kind out", "kind is %q, and the query's signal is a %q", text, want)
	}
}

// checkTarget reads a number, or a time where the signal may be one.
func checkTarget(v value, kind string, r *reporter) {
	text, set := v.text()
	if !set {
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	if d, notTime := time.ParseDuration(text); err != nil && notTime == nil {
		if kind == kindSum {
			r.errorf(v.at, "write a number of requests for each server", "target is the time %q, and the query counts requests", text)
			return
		}
		f, err = d.Seconds(), nil
	}
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		r.errorf(v.at, `write a number above 0, or a time such as "250ms" for a signal in seconds`, "target is %q", text)
	}
}
