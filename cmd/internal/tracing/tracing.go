package tracing

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	noop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

const (
	claimsSeen = 100 // one claim in so many has a span; one that failed always has
	mostLinks  = 128 // of one span
	// scope names the instrumentation.
	scope = "github.com/outboxd/outboxd"
)

// Config says whose spans they are.
type Config struct {
	// Env returns a variable of the environment. The exporter and the sampler read the process's own besides.
	Env                         func(name string) string
	Worker, Collection, Version string
}

// Tracer makes spans. It is used by many goroutines at once.
type Tracer struct {
	provider           *sdk.TracerProvider
	tracer             trace.Tracer
	worker, collection string
	claims             atomic.Int64
}

// New returns a tracer, or nil where the environment wants none. Sampling is the SDK's: by the producer's flag unless
// OTEL_TRACES_SAMPLER says otherwise. It connects to nothing yet. The caller has to close it.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	if !wanted(cfg.Env) {
		return nil, nil
	}
	exporter, err := exporter(ctx, cfg.Env)
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces (OTEL_EXPORTER_OTLP_*): %w", err)
	}
	about, err := resource.New(ctx, resource.WithSchemaURL(schema), resource.WithAttributes(
		attribute.String("service.name", "outboxd"), attribute.String("service.version", cfg.Version), attribute.String("service.instance.id", cfg.Worker),
	), resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, fmt.Errorf("name the worker in traces (OTEL_RESOURCE_ATTRIBUTES): %w", err)
	}
	return newTracer(cfg, sdk.WithBatcher(exporter), sdk.WithResource(about)), nil
}

func newTracer(cfg Config, options ...sdk.TracerProviderOption) *Tracer {
	provider := sdk.NewTracerProvider(options...)
	return &Tracer{
		provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(schema)),
		worker: cfg.Worker, collection: cfg.Collection,
	}
}

// wanted reports whether the environment names an endpoint and does not switch traces off.
func wanted(env func(string) string) bool {
	return !strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") && env("OTEL_TRACES_EXPORTER") != "none" &&
		cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), env("OTEL_EXPORTER_OTLP_ENDPOINT")) != ""
}

func exporter(ctx context.Context, env func(string) string) (*otlptrace.Exporter, error) {
	switch protocol := cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); protocol {
	case "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; there are http/protobuf and grpc", protocol)
	}
}

// Close exports what is left, within the context's deadline, and ends.
func (t *Tracer) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("export the last spans: %w", err)
	}
	return nil
}

// Call begins the span of a call to the provider, within the producer's trace.
func (t *Tracer) Call(ctx context.Context, in *outbox.Intent, action outbox.Action, at time.Time) (context.Context, dispatcher.Span) {
	name, kind := "process ", trace.SpanKindConsumer
	if action == outbox.LookUp {
		name, kind = "lookup ", trace.SpanKindClient
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(t.call(in)...)}
	if action == outbox.Send {
		if delay := at.Sub(in.DueAt); !in.DueAt.IsZero() && delay >= 0 && in.DueAt.Before(at) {
			options = append(options, trace.WithAttributes(attrQueueDelay.Int64(delay.Milliseconds())))
		}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": in.Trace.Parent, "tracestate": in.Trace.State})
	if producer := trace.SpanContextFromContext(ctx); producer.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	ctx, s := t.tracer.Start(ctx, name+in.Kind, options...)
	return ctx, &span{s, action}
}

// span is the span of one call.
type span struct {
	trace.Span
	action outbox.Action
}

// Trace returns its context.
func (s *span) Trace() outbox.Trace {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.Span), carrier)
	return outbox.Trace{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}

// End ends it with what was decided. A failure's message may hold a provider's words, and stays out.
func (s *span) End(d outbox.Decision) {
	s.SetAttributes(decided(d, s.action)...)
	if f := failure(d); f != nil && !f.Class.Business() {
		s.SetStatus(codes.Error, f.Code)
	}
	s.Span.End()
}

// Claimed makes the span of a claim, in a trace of its own: one in a hundred, and each that failed.
func (t *Tracer) Claimed(kind string, began time.Time, asked, got int, err error) {
	if n := t.claims.Add(1); err == nil && n%claimsSeen != 1 {
		return
	}
	_, s := t.tracer.Start(context.Background(), "claim "+t.collection, trace.WithNewRoot(), trace.WithTimestamp(began),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(append(t.batch(receiving, got), attrKind.String(kind), attrAsked.Int(asked))...))
	fail(s, err)
	s.End()
}

// Wrote makes the span of one try to settle a batch, in a trace of its own, with links to the calls. If none of those
// is sampled, nor is it, unless it failed.
func (t *Tracer) Wrote(began time.Time, batch []outbox.Settlement, err error) {
	var links []trace.Link
	for _, s := range batch {
		if len(links) == mostLinks {
			break
		}
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": s.Decision.Trace.Parent})
		if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
			links = append(links, trace.Link{SpanContext: c})
		}
	}
	if len(links) == 0 && err == nil {
		return
	}
	_, s := t.tracer.Start(context.Background(), "settle "+t.collection, trace.WithNewRoot(), trace.WithTimestamp(began),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...), trace.WithAttributes(t.batch(settling, len(batch))...))
	fail(s, err)
	s.End()
}

// fail marks a span as failed. The database's words may hold a value of a document, and stay out.
func fail(s trace.Span, err error) {
	if err != nil {
		s.SetStatus(codes.Error, "the database did not answer well; the worker's log says more")
	}
}

// Wrap makes a span of each request that passes. It tells the provider nothing of our traces.
func (t *Tracer) Wrap(next http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(bare{next}, otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		otelhttp.WithFilter(func(r *http.Request) bool { return trace.SpanContextFromContext(r.Context()).IsValid() }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
}

// bare takes the query out of the address that the span around it has.
type bare struct{ next http.RoundTripper }

// RoundTrip names the bare address, and passes the request on.
func (b bare) RoundTrip(req *http.Request) (*http.Response, error) {
	trace.SpanFromContext(req.Context()).SetAttributes(address(req.URL))
	return b.next.RoundTrip(req)
}
