package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/armon/go-metrics"
)

// Prefix of every metric.
const Prefix = "nomad_driver_vllm"

// A sink in memory has six intervals, as in HashiCorp's agents.
const (
	interval = 10 * time.Second
	keep     = time.Minute
)

// Recorder takes the driver's numbers. It keeps them in memory until Open
// says where else they go.
type Recorder struct {
	inmem *metrics.InmemSink
	to    atomic.Pointer[metrics.Metrics]
}

// New starts nothing.
func New() *Recorder { return newRecorder(interval, keep) }

func newRecorder(interval, keep time.Duration) *Recorder {
	r := &Recorder{inmem: metrics.NewInmemSink(interval, keep)}
	r.send(r.inmem)
	return r
}

func (r *Recorder) send(to metrics.MetricSink) {
	m, err := metrics.New(&metrics.Config{
		ServiceName: Prefix, TimerGranularity: time.Millisecond, FilterDefault: true,
	}, to)
	if err != nil { // it returns none
		panic(err)
	}
	r.to.Store(m)
}

func (r *Recorder) count(name string, labels ...metrics.Label) {
	r.to.Load().IncrCounterWithLabels([]string{name}, 1, labels)
}

func (r *Recorder) took(name string, d time.Duration) {
	r.to.Load().AddSample([]string{name}, float32(d.Seconds()*1000))
}

// Running tells how many tasks run, with how many GPUs.
func (r *Recorder) Running(n, withGPUs int) {
	r.to.Load().SetGauge([]string{tasks}, float32(n))
	r.to.Load().SetGauge([]string{gpus}, float32(withGPUs))
}

// Started counts an engine that was started.
func (r *Recorder) Started(took time.Duration) {
	r.count(starts)
	r.took(startTime, took)
}

// StartFailed counts a task that was not.
func (r *Recorder) StartFailed(reason string) {
	r.count(startFailures, metrics.Label{Name: "reason", Value: reason})
}

// Ready times an engine that serves now.
func (r *Recorder) Ready(after time.Duration) { r.took(readyTime, after) }

// StopTook times a stop that left nothing.
func (r *Recorder) StopTook(d time.Duration) { r.took(stopTime, d) }

// Ended counts a task that ended.
func (r *Recorder) Ended(how string) { r.count(exits, metrics.Label{Name: "how", Value: how}) }

// Recovered counts a task that was found again, or not.
func (r *Recorder) Recovered(ok bool) {
	result := "ok"
	if !ok {
		result = "failed"
	}
	r.count(recoveries, metrics.Label{Name: "result", Value: result})
}

// NotEnforced counts a limit that a task was started without.
func (r *Recorder) NotEnforced(limit string) {
	r.count(notEnforced, metrics.Label{Name: "limit", Value: limit})
}
