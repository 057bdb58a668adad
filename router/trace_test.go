package router

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/nomad-vllm/nomad-vllm/router/trace"
)

func TestTrace_legsAreSpansAndInstancesAreToldOfThem(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 10)
	at := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if proto.Unmarshal(raw, &req) == nil {
			got <- &req
		}
	}))
	defer at.Close()
	tracer, err := trace.New(trace.Config{Endpoint: at.URL, Sample: 1})
	require.NoError(t, err)
	r, p, d := several(t, Config{Tracer: tracer}, 1, 1)
	const client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	require.Equal(t, 200, r.post(cmplPath, `{"prompt":"x","stream":true}`, "Traceparent", client).StatusCode)
	require.Eventually(t, func() bool { return r.metric("pd_router_requests_in_flight") == 0 }, waitFor, tick)
	require.NoError(t, tracer.Close(t.Context()))

	parents := map[string]string{}
	for _, s := range (<-got).ResourceSpans[0].ScopeSpans[0].Spans {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", hex.EncodeToString(s.TraceId))
		parents[s.Name] = hex.EncodeToString(s.ParentSpanId)
		seen := map[string][]*engine{"prefill": p, "decode": d}[s.Name]
		for _, e := range seen {
			require.Equal(t, []string{"00-" + hex.EncodeToString(s.TraceId) + "-" + hex.EncodeToString(s.SpanId) + "-01"}, e.requests()[0].header.Values("Traceparent"))
		}
	}
	require.Len(t, parents, 3)
	require.Equal(t, "b7ad6b7169203331", parents["request"])
	require.Equal(t, parents["prefill"], parents["decode"])
}

func TestTrace_withoutACollectorTheClientsIsPassedOn(t *testing.T) {
	r, p, _ := several(t, Config{}, 1, 1)
	r.post(cmplPath, `{"prompt":"x"}`, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	require.Equal(t, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", p[0].requests()[0].header.Get("Traceparent"))
}
