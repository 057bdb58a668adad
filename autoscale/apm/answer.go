package apm

import (
	"errors"
	"fmt"
	"time"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// answered splits the readings into those with metrics and, as messages,
// those without. If fewer than half answered, what the group does is unknown
// and the error says so.
func answered(readings []reading) (good []reading, silent []string, err error) {
	for _, r := range readings {
		if r.err != nil {
			silent = append(silent, r.instance.ID+": "+r.err.Error())
			continue
		}
		good = append(good, r)
	}
	if 2*len(good) < len(readings) || len(good) == 0 {
		return nil, silent, fmt.Errorf("%d of %d usable instances did not answer: %s", len(silent), len(readings), brief(silent))
	}
	return good, silent, nil
}

// value makes one number of the readings that answered, for a group of size
// usable instances.
func value(q signal.Query, good []reading, size int, from time.Time, mem *memory) (float64, error) {
	switch q.Signal.Name {
	case signal.QueueDepth:
		return total(good, size, func(m engineMetrics) float64 { return m.waiting }), nil
	case signal.RequestsRunning:
		return total(good, size, func(m engineMetrics) float64 { return m.running }), nil
	case signal.KVTransferLatency:
		return transferLatency(good, from, mem)
	}
	return 0, fmt.Errorf("metric %q is known to package signal, but not answered here", q.Signal.Name)
}

// total adds up over the group. An instance that did not answer is taken to
// be like the others: counting it as 0 would shrink a group because one of its
// instances is too busy to answer.
func total(good []reading, size int, pick func(engineMetrics) float64) float64 {
	sum := 0.0
	for _, r := range good {
		sum += pick(r.metrics)
	}
	return sum * float64(size) / float64(len(good))
}

// transferLatency is the mean over all transfers of all instances, so that a
// slow transfer weighs the same wherever it happened. No transfer is 0: the
// group's handoffs need nothing. (A mean, because the histogram's buckets are
// too coarse for a percentile: 1 s is followed by 5 s.)
func transferLatency(good []reading, from time.Time, mem *memory) (float64, error) {
	var seconds, count float64
	counted := false
	for _, r := range good {
		if r.metrics.transfers == nil {
			continue
		}
		counted = true
		s, n := mem.addSample(r.instance.ID, from, sample{at: r.at, transfers: *r.metrics.transfers})
		seconds, count = seconds+s, count+n
	}
	switch {
	case !counted:
		return 0, errors.New("no instance exports " + vllm.MetricNixlXferTime +
			"; only the NIXL connector measures transfers, and it does so on the decode side")
	case count <= 0 || seconds < 0:
		return 0, nil
	}
	return seconds / count, nil
}
