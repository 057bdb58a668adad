package metrics_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/metrics"
)

func TestText_isValidAndTheSameEveryTime(t *testing.T) {
	var texts [][]byte
	for range 2 {
		r := metrics.NewRegistry(time.Unix(1, 0))
		e := metrics.NewEngine(r, metrics.Shape{Model: `a "quoted" name`, MaxModelLen: 2048, Connector: true, Fetches: true, CacheInfo: []string{"block_size", "16"}})
		e.Observe(e.TTFT, 0.03)
		e.Add(e.Success, 2, "finished_reason", "stop")
		e.Set(e.KVUsage, 0.5)
		texts = append(texts, r.Text())
	}
	require.Equal(t, string(texts[0]), string(texts[1]))

	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(texts[0]))
	require.NoError(t, err)
	h := families["vllm:time_to_first_token_seconds"].GetMetric()[0].GetHistogram()
	require.Equal(t, uint64(1), h.GetSampleCount())
	for _, b := range h.GetBucket() {
		require.Equal(t, b.GetUpperBound() >= 0.03, b.GetCumulativeCount() == 1, "bucket %v", b.GetUpperBound())
	}
	require.InDelta(t, 0.5, families["vllm:kv_cache_usage_perc"].GetMetric()[0].GetGauge().GetValue(), 1e-9)
}

func TestShape_decidesWhichFamiliesThereAre(t *testing.T) {
	has := func(s metrics.Shape, name string) bool {
		r := metrics.NewRegistry(time.Unix(1, 0))
		metrics.NewEngine(r, s)
		return bytes.Contains(r.Text(), []byte(name))
	}
	require.False(t, has(metrics.Shape{}, "nixl"))
	require.True(t, has(metrics.Shape{Connector: true}, "vllm:nixl_bytes_transferred_sum"))
	require.False(t, has(metrics.Shape{Connector: true}, "kv_fetch_by_stage"))
	require.True(t, has(metrics.Shape{Connector: true, Fetches: true}, "kv_fetch_by_stage"))
}
