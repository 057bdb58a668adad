package choose

import (
	"strconv"
	"strings"
)

// How vLLM is asked for its load, and how it says it with an answer: Open
// Request Cost Aggregation, in vLLM since 0.9.
const (
	ReportFormatHeader = "Endpoint-Load-Metrics-Format"
	ReportFormat       = "JSON"
	ReportHeader       = "Endpoint-Load-Metrics"
)

// Report is what an instance said of its own load, with the requests of all
// routers in it.
type Report struct {
	Waiting float64 // sequences that wait for room
	KVUsage float64 // share of the KV cache in use, 0 to 1
}

// ParseReport reads the value of ReportHeader,
//
//	JSON {"named_metrics": {"num_requests_waiting": 0.0, "kv_cache_usage_perc": 0.0}}
//
// What it cannot read is no report: load is a hint. It looks for the two
// names only, because it runs twice for every request.
func ParseReport(value string) (Report, bool) {
	if !strings.HasPrefix(value, ReportFormat+" {") {
		return Report{}, false
	}
	waiting, ok1 := number(value, `"num_requests_waiting":`)
	usage, ok2 := number(value, `"kv_cache_usage_perc":`)
	if !ok1 || !ok2 || !(waiting >= 0 && waiting < 1e9) || !(usage >= 0 && usage <= 1) {
		return Report{}, false
	}
	return Report{Waiting: waiting, KVUsage: usage}, true
}

// number is the number after a name.
func number(doc, name string) (float64, bool) {
	_, rest, ok := strings.Cut(doc, name)
	if !ok {
		return 0, false
	}
	rest = strings.TrimLeft(rest, " ")
	if end := strings.IndexAny(rest, ",} "); end >= 0 {
		rest = rest[:end]
	}
	f, err := strconv.ParseFloat(rest, 64)
	return f, err == nil
}
