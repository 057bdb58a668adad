package apm

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files are what a real vLLM 0.32 (CPU, NIXL) answered, cut down to the
// families that matter and some that do not.
func TestParseMetrics_ofARealDecode(t *testing.T) {
	f, err := os.Open("testdata/d.metrics.txt")
	require.NoError(t, err)
	defer f.Close()
	m, err := parseMetrics(f)
	require.NoError(t, err)
	require.Equal(t, engineMetrics{transfers: &transfers{seconds: 0.006672, count: 5, created: 1.7953411038578286e+09}}, m)
}

func TestParseMetrics_ofARealPrefill(t *testing.T) {
	f, err := os.Open("testdata/p.metrics.txt")
	require.NoError(t, err)
	defer f.Close()
	m, err := parseMetrics(f)
	require.NoError(t, err)
	require.Zero(t, m.transfers.count, "the decode pulls: a prefill counts no transfer")
}

func TestParseMetrics_addsUpEnginesAndModels(t *testing.T) {
	m, err := parseMetrics(strings.NewReader(`
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 3.0
vllm:num_requests_running{engine="1",model_name="a"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a"} 1.0
vllm:num_requests_waiting{engine="1",model_name="a"} 20.0
# TYPE vllm:nixl_xfer_time_seconds histogram
vllm:nixl_xfer_time_seconds_bucket{engine="0",le="+Inf"} 2.0
vllm:nixl_xfer_time_seconds_count{engine="0"} 2.0
vllm:nixl_xfer_time_seconds_sum{engine="0"} 0.5
vllm:nixl_xfer_time_seconds_bucket{engine="1",le="+Inf"} 1.0
vllm:nixl_xfer_time_seconds_count{engine="1"} 1.0
vllm:nixl_xfer_time_seconds_sum{engine="1"} 0.25
`))
	require.NoError(t, err)
	require.Equal(t, engineMetrics{waiting: 21, running: 7, transfers: &transfers{seconds: 0.75, count: 3}}, m)
}

func TestParseMetrics_withoutNIXLHasNoTransfers(t *testing.T) {
	m, err := parseMetrics(strings.NewReader("vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"))
	require.NoError(t, err)
	require.Equal(t, engineMetrics{waiting: 2, running: 1}, m)
}

func TestParseMetrics_refusesWhatItCannotCountWith(t *testing.T) {
	for body, want := range map[string]string{
		"":                                  "is this a vLLM server?",
		"<html><body>hello</body></html>\n": "read metrics",
		"vllm:num_requests_running 1\n":     "no metric vllm:num_requests_waiting",
		"vllm:num_requests_running 1\nvllm:num_requests_waiting NaN\n":     "vllm:num_requests_waiting is NaN",
		"vllm:num_requests_running +Inf\nvllm:num_requests_waiting 1\n":    "vllm:num_requests_running is +Inf",
		"vllm:num_requests_running 1\nvllm:num_requests_waiting -1\n":      "vllm:num_requests_waiting is -1",
		"vllm:num_requests_running{x=\"1\nvllm:num_requests_waiting 1\n\n": "read metrics",
	} {
		_, err := parseMetrics(strings.NewReader(body))
		require.ErrorContains(t, err, want, body)
	}
}
