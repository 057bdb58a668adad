package trace

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where spans go.
type Config struct {
	// Endpoint is the collector's OTLP over HTTP, "http://10.0.0.9:4318" for
	// example. Empty: nothing is traced.
	Endpoint string
	// Sample is the share of the requests without a trace of their own that are
	// traced, 0 to 1. A client's own decision is followed.
	Sample float64
	// Version of the router.
	Version string
}

// Tracer starts spans. nil: none.
type Tracer struct {
	provider   *sdk.TracerProvider
	tracer     trace.Tracer
	propagator propagation.TraceContext
}

// New makes a tracer, nil without an endpoint. It does not connect yet: a
// collector that is away costs spans, not requests.
func New(cfg Config) (*Tracer, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("trace endpoint %q: want a URL like http://10.0.0.9:4318", cfg.Endpoint)
	}
	if cfg.Sample < 0 || cfg.Sample > 1 {
		return nil, fmt.Errorf("trace sample %g: want a share from 0 to 1", cfg.Sample)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", cfg.Endpoint, err)
	}
	return newTracer(cfg, sdk.NewBatchSpanProcessor(exporter)), nil
}

func newTracer(cfg Config, p sdk.SpanProcessor) *Tracer {
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(p),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Sample))),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "pd-router"), attribute.String("service.version", cfg.Version))),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/nomad-vllm/nomad-vllm/router")}
}

// Close sends what is left, for as long as ctx lets it.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is a request's or a leg's. nil: not traced.
type Span struct {
	tracer *Tracer
	span   trace.Span
	ctx    context.Context
}

// Request starts the span of a request, under the client's own span if its
// headers name one.
func (t *Tracer) Request(h http.Header, endpoint, id string) *Span {
	if t == nil {
		return nil
	}
	ctx := t.propagator.Extract(context.Background(), propagation.HeaderCarrier(h))
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", http.MethodPost),
		attribute.String("url.path", endpoint), attribute.String("request.id", id)))
	return &Span{tracer: t, span: span, ctx: ctx}
}

// Leg starts the span of one leg of a request.
func (s *Span) Leg(name, instance, address string) *Span {
	if s == nil {
		return nil
	}
	ctx, span := s.tracer.tracer.Start(s.ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("pd.instance", instance), attribute.String("server.address", address)))
	return &Span{tracer: s.tracer, span: span, ctx: ctx}
}

// Inject writes the span into the headers of a leg, so that vLLM's spans
// become its children.
func (s *Span) Inject(h http.Header) {
	if s != nil {
		s.tracer.propagator.Inject(s.ctx, propagation.HeaderCarrier(h))
	}
}

// Event notes something that happened within the span.
func (s *Span) Event(name string, at time.Time) {
	if s != nil {
		s.span.AddEvent(name, trace.WithTimestamp(at))
	}
}

// Set notes a fact: a string, an int or a bool.
func (s *Span) Set(key string, value any) {
	if s == nil {
		return
	}
	switch v := value.(type) {
	case string:
		s.span.SetAttributes(attribute.String(key, v))
	case int:
		s.span.SetAttributes(attribute.Int(key, v))
	case bool:
		s.span.SetAttributes(attribute.Bool(key, v))
	}
}

// End ends the span with the HTTP status (0: none came) and the failure, empty
// if there was none.
func (s *Span) End(status int, failure string) {
	if s == nil {
		return
	}
	if status > 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if failure != "" || status >= http.StatusInternalServerError {
		s.span.SetStatus(codes.Error, failure)
	}
	s.span.End()
}
