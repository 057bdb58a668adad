package apm

import (
	"fmt"
	"io"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// engineMetrics is what the signals need of one instance, each summed over
// its engines (data-parallel ranks) and model names.
type engineMetrics struct {
	waiting float64
	running float64
	// transfers is nil if the engine does not count KV transfers, which means
	// that its connector is not NIXL.
	transfers *transfers
}

// transfers are an instance's KV transfers since its counters started.
type transfers struct {
	seconds float64
	count   float64
	// created is when the counters started (Unix seconds), 0 if not said.
	created float64
}

// parseMetrics reads the text format. A page without the engine's queue is an
// error: something else is answering on that port.
func parseMetrics(r io.Reader) (engineMetrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return engineMetrics{}, fmt.Errorf("read metrics: %w", err)
	}
	var out engineMetrics
	for name, into := range map[string]*float64{
		vllm.MetricRequestsWaiting: &out.waiting,
		vllm.MetricRequestsRunning: &out.running,
	} {
		family := families[name]
		if family == nil {
			return engineMetrics{}, fmt.Errorf("no metric %s; is this a vLLM server?", name)
		}
		for _, m := range family.GetMetric() {
			*into += gauge(m)
		}
		if err := quantity(name, *into); err != nil {
			return engineMetrics{}, err
		}
	}
	out.transfers, err = parseTransfers(families)
	return out, err
}

func parseTransfers(families map[string]*dto.MetricFamily) (*transfers, error) {
	family := families[vllm.MetricNixlXferTime]
	if family == nil || family.GetType() != dto.MetricType_HISTOGRAM {
		return nil, nil
	}
	var t transfers
	for _, m := range family.GetMetric() {
		t.seconds += m.GetHistogram().GetSampleSum()
		t.count += float64(m.GetHistogram().GetSampleCount())
	}
	for _, m := range families[vllm.MetricNixlXferTime+"_created"].GetMetric() {
		t.created = max(t.created, gauge(m))
	}
	return &t, quantity(vllm.MetricNixlXferTime, t.seconds)
}

// gauge reads a gauge, or a metric that a proxy on the way left untyped.
func gauge(m *dto.Metric) float64 {
	if m.GetUntyped() != nil {
		return m.GetUntyped().GetValue()
	}
	return m.GetGauge().GetValue()
}

// quantity refuses what cannot be counted with: one NaN would make the whole
// group's number NaN.
func quantity(name string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("metric %s is %v; want 0 or more", name, v)
	}
	return nil
}
