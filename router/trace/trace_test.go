package trace

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

func recorded(t *testing.T, sample float64) (*Tracer, *tracetest.InMemoryExporter) {
	out := tracetest.NewInMemoryExporter()
	tracer := newTracer(Config{Sample: sample}, sdk.NewSimpleSpanProcessor(out))
	t.Cleanup(func() { _ = tracer.Close(context.Background()) })
	return tracer, out
}

func TestTracer_bothLegsAreChildrenOfTheRequest(t *testing.T) {
	tracer, out := recorded(t, 1)
	client := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"vendor=1"}}
	request := tracer.Request(client, "/v1/chat/completions", "id-1")
	prefill, decode := request.Leg("prefill", "p1", "10.0.0.1:8000"), request.Leg("decode", "d1", "10.0.0.2:8000")
	legs := http.Header{}
	decode.Inject(legs)
	prefill.End(http.StatusOK, "")
	decode.Event("first token", time.Now())
	decode.End(http.StatusInternalServerError, "it broke")
	request.Set("pd.path", "disaggregated")
	request.End(http.StatusOK, "")

	spans := out.GetSpans()
	require.Len(t, spans, 3)
	require.Equal(t, []string{"prefill", "decode", "request"}, []string{spans[0].Name, spans[1].Name, spans[2].Name})
	root := spans[2]
	require.Equal(t, "b7ad6b7169203331", root.Parent.SpanID().String(), "the client's span is its parent")
	for _, s := range spans {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.SpanContext.TraceID().String())
	}
	for _, leg := range spans[:2] {
		require.Equal(t, root.SpanContext.SpanID(), leg.Parent.SpanID())
	}
	require.Equal(t, "00-0af7651916cd43dd8448eb211c80319c-"+spans[1].SpanContext.SpanID().String()+"-01", legs.Get("traceparent"))
	require.Equal(t, "vendor=1", legs.Get("tracestate"))
	require.Equal(t, codes.Error, spans[1].Status.Code)
	require.Equal(t, "it broke", spans[1].Status.Description)
	require.Equal(t, codes.Unset, root.Status.Code)
}

func TestTracer_followsTheClientsDecisionAndSamplesTheRest(t *testing.T) {
	tracer, out := recorded(t, 0)
	request := tracer.Request(http.Header{}, "/v1/completions", "id")
	request.End(http.StatusOK, "")
	require.Empty(t, out.GetSpans())
	traced := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	tracer.Request(traced, "/v1/completions", "id").End(http.StatusOK, "")
	require.Len(t, out.GetSpans(), 1)
}

func TestNil_tracesNothing(t *testing.T) {
	tracer, err := New(Config{})
	require.NoError(t, err)
	require.Nil(t, tracer)
	request := tracer.Request(http.Header{}, "/", "")
	leg := request.Leg("prefill", "", "")
	h := http.Header{}
	leg.Inject(h)
	leg.Event("x", time.Now())
	leg.Set("a", 1)
	leg.End(500, "x")
	request.End(200, "")
	require.Empty(t, h)
	require.NoError(t, tracer.Close(t.Context()))
}

func TestNew_sendsToACollector(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if r.URL.Path == "/v1/traces" && proto.Unmarshal(body, &req) == nil {
			got <- &req
		}
	}))
	defer server.Close()
	tracer, err := New(Config{Endpoint: server.URL, Sample: 1, Version: "1.2.3"})
	require.NoError(t, err)
	tracer.Request(http.Header{}, "/v1/completions", "id").End(http.StatusOK, "")
	require.NoError(t, tracer.Close(t.Context()))
	resource := (<-got).ResourceSpans[0]
	require.Equal(t, "pd-router", resource.Resource.Attributes[0].Value.GetStringValue())
	require.Equal(t, "request", resource.ScopeSpans[0].Spans[0].Name)
}

func TestNew_refusesWhatIsNoEndpoint(t *testing.T) {
	_, err := New(Config{Endpoint: "10.0.0.9:4318"})
	require.EqualError(t, err, `trace endpoint "10.0.0.9:4318": want a URL like http://10.0.0.9:4318`)
	_, err = New(Config{Endpoint: "http://10.0.0.9:4318", Sample: 2})
	require.EqualError(t, err, "trace sample 2: want a share from 0 to 1")
}
