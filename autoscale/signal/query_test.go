package signal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
)

func TestParseQuery_namesOneSignalOfOneGroup(t *testing.T) {
	for in, want := range map[string]string{
		"queue_depth/prefill/pd":                "queue_depth/prefill/pd@default",
		"queue_depth/prefill/pd@ml":             "queue_depth/prefill/pd@ml",
		"kv_transfer_latency/decode/pd":         "kv_transfer_latency/decode/pd@default",
		"requests_running/decode/team/a/pd":     "requests_running/decode/team/a/pd@default",
		"requests_running/decode/me@home/pd@ml": "requests_running/decode/me@home/pd@ml",
	} {
		q, err := signal.ParseQuery(in)
		require.NoError(t, err, in)
		require.Equal(t, want, q.String())
	}
}

func TestParseQuery_saysWhatItWants(t *testing.T) {
	for _, in := range []string{"", "queue_depth", "queue_depth/prefill", "queue_depth//pd", "queue_depth/prefill/", "queue_depth/prefill/pd@", "/prefill/pd"} {
		_, err := signal.ParseQuery(in)
		require.ErrorContains(t, err, "<metric>/<group>/<job>[@<namespace>]", in)
	}
	_, err := signal.ParseQuery("queue_dept/prefill/pd")
	require.ErrorContains(t, err, `no metric "queue_dept"; want one of queue_depth, requests_running, kv_transfer_latency`)
}
