package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// Metrics holds the router's instruments.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	leg      *prometheus.HistogramVec
	first    *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	streams  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	suspects *prometheus.CounterVec
	failures *prometheus.CounterVec
	rejected *prometheus.CounterVec
	waiting  *prometheus.GaugeVec
	active   prometheus.Gauge
	handoff  prometheus.Histogram
	gaps     *interToken

	known  sync.Map // outcome -> prometheus.Counter: looking labels up costs more than counting
	path   map[pd.Path]timers
	perLeg map[string]prometheus.Observer
}

// buckets span a cached prefix (a few ms) to a long answer (minutes), in seconds.
func buckets() []float64 {
	return []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
}

// New makes the instruments; view is called at each scrape.
func New(view func() View) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		gaps:     newInterToken(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_requests_total", Help: "Requests by how they were served (path, empty if they were not), why not disaggregated (reason), and status code.",
		}, []string{"path", "reason", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pd_router_request_duration_seconds", Help: "From a request's first byte to its answer's last.", Buckets: buckets(),
		}, []string{"path"}),
		leg: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pd_router_leg_duration_seconds", Help: "Prefill: to its whole answer. Decode (leg 2) and local: to response headers.", Buckets: buckets(),
		}, []string{"leg"}),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pd_router_time_to_first_token_seconds", Help: "From a streamed request's arrival to its first token.", Buckets: buckets(),
		}, []string{"path"}),
		handoff: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pd_router_handoff_duration_seconds", Help: "From leg 1's answer, taken, to the first token of a stream that a decode took over.", Buckets: buckets(),
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_retries_total", Help: "Further tries after a failed leg.",
		}, []string{"leg"}),
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_stream_failures_total", Help: "Streams with status 200 that failed: error (an error event before any token), empty (ended without a token), aborted (finish_reason abort before any token), cut (broke off after one), stalled (stood still after one), stopped (cut off by the router at its drain timeout), late_error (an error event after one, passed on).",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_handoffs_refused_total", Help: "Answers of prefills whose kv_transfer_params were not passed on: absent, shape (a decode would die of it), request (another request's), engine or address (not the prefill's own), late (its lease was over).",
		}, []string{"reason"}),
		suspects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_suspect_answers_total", Help: "Answers 401, 403 or 404 of a prefill upon which another was asked: its own settings may be wrong.",
		}, []string{"code"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_instance_failures_total", Help: "Legs that failed by their instance: connect (refused or not in time), reset (broke off), timeout, status (5xx, 401, 403, 404), busy (408, 429), params (no usable handoff in a 200), answer (no answer in a 200).",
		}, []string{"leg", "kind"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pd_router_rejected_total", Help: "Requests that were not let in: queue_full, waited_too_long, key_busy (a key's own limit), key_rate.",
		}, []string{"reason"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pd_router_waiting_for_instance", Help: "Requests that wait for the first instance of their model (empty: not registered yet).",
		}, []string{"model"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pd_router_requests_in_flight", Help: "Requests being served now.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.leg, m.first, m.handoff, m.gaps, m.retries, m.streams, m.refused, m.suspects, m.failures, m.rejected, m.waiting, m.active,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &instances{view: view})
	m.zero()
	m.perLeg, m.path = map[string]prometheus.Observer{}, map[pd.Path]timers{}
	for _, leg := range []string{LegPrefill, LegDecode, LegLocal} {
		m.perLeg[leg] = m.leg.WithLabelValues(leg)
	}
	for _, p := range []pd.Path{"", pd.PathDisaggregated, pd.PathLocal} {
		m.path[p] = timers{all: m.duration.WithLabelValues(string(p)), first: m.first.WithLabelValues(string(p))}
	}
	return m
}

// timers are the histograms of one path.
type timers struct{ all, first prometheus.Observer }

// outcome is how a request ended, as its counter's labels.
type outcome struct {
	path   pd.Path
	reason pd.Reason
	code   int
}

// zero exports what has not happened yet: a rate over a series that first
// appears with its first failure misses that failure.
func (m *Metrics) zero() {
	m.requests.WithLabelValues(string(pd.PathDisaggregated), "", "200")
	for _, r := range pd.Reasons() {
		m.requests.WithLabelValues(string(pd.PathLocal), string(r), "200")
	}
	for _, leg := range []string{LegPrefill, LegDecode, LegLocal} {
		m.retries.WithLabelValues(leg)
		m.leg.WithLabelValues(leg)
		for _, kind := range []string{FailedConnect, FailedReset, FailedTimeout, FailedStatus, FailedBusy, FailedParams, FailedAnswer} {
			m.failures.WithLabelValues(leg, kind)
		}
	}
	for _, why := range admit.Reasons() {
		m.rejected.WithLabelValues(why)
	}
	m.waiting.WithLabelValues("")
	for _, why := range handoff.Refusals() {
		m.refused.WithLabelValues(string(why))
	}
	for _, kind := range []string{StreamError, StreamEmpty, StreamAborted, StreamCut, StreamStalled, StreamStopped, StreamLateError} {
		m.streams.WithLabelValues(kind)
	}
}

// Values of the leg label.
const (
	LegPrefill = "prefill"
	LegDecode  = "decode"
	LegLocal   = "local"
)

// Values of the kind label of stream failures.
const (
	StreamError = "error"
	StreamEmpty = "empty"
	StreamCut   = "cut"
	// StreamStalled is cut off by the router: nothing came for too long.
	StreamStalled = "stalled"
	// StreamStopped is cut off by the router: it is being stopped itself.
	StreamStopped = "stopped"
	// StreamAborted is not only of streams: an answer that its server gave up.
	StreamAborted   = "aborted"
	StreamLateError = "late_error"
)

// Values of the kind label of instance failures.
const (
	FailedConnect = "connect"
	FailedReset   = "reset"
	FailedTimeout = "timeout"
	FailedStatus  = "status"
	FailedBusy    = "busy"
	FailedParams  = "params"
	FailedAnswer  = "answer"
)

// Begin counts a request in, End out.
func (m *Metrics) Begin() { m.active.Inc() }

// End counts a request out.
func (m *Metrics) End() { m.active.Dec() }

// Request counts one finished request.
func (m *Metrics) Request(path pd.Path, reason pd.Reason, code int, took time.Duration) {
	o := outcome{path, reason, code}
	counter, ok := m.known.Load(o)
	if !ok {
		counter, _ = m.known.LoadOrStore(o, m.requests.WithLabelValues(string(path), string(reason), strconv.Itoa(code)))
	}
	counter.(prometheus.Counter).Inc()
	m.path[path].all.Observe(took.Seconds())
}

// Leg records how long one leg took.
func (m *Metrics) Leg(leg string, took time.Duration) {
	m.perLeg[leg].Observe(took.Seconds())
}

// FirstToken records the time to a stream's first token.
func (m *Metrics) FirstToken(path pd.Path, took time.Duration) {
	m.path[path].first.Observe(took.Seconds())
}

// Handoff records how long a handoff took until its first token.
func (m *Metrics) Handoff(took time.Duration) { m.handoff.Observe(took.Seconds()) }

// Retry counts one further try of a leg.
func (m *Metrics) Retry(leg string) { m.retries.WithLabelValues(leg).Inc() }

// StreamFailure counts a stream that failed under status 200.
func (m *Metrics) StreamFailure(kind string) { m.streams.WithLabelValues(kind).Inc() }

// Refused counts a handoff that was not passed on.
func (m *Metrics) Refused(why handoff.Refusal) { m.refused.WithLabelValues(string(why)).Inc() }

// Suspect counts an answer that may be the instance's own fault.
func (m *Metrics) Suspect(code int) { m.suspects.WithLabelValues(strconv.Itoa(code)).Inc() }

// InstanceFailure counts a leg that failed by its instance.
func (m *Metrics) InstanceFailure(leg, kind string) { m.failures.WithLabelValues(leg, kind).Inc() }

// Rejected counts a request that was not let in.
func (m *Metrics) Rejected(reason string) { m.rejected.WithLabelValues(reason).Inc() }

// Waiting counts a request in that waits for an instance, and out again by what
// it returns.
func (m *Metrics) Waiting(model string) func() {
	g := m.waiting.WithLabelValues(model)
	g.Inc()
	return g.Dec
}

// Gatherer is what a scrape reads.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
