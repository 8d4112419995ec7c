package tracing_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/outboxd/outboxd/cmd/internal/tracing"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	producerTrace = "0af7651916cd43dd8448eb211c80319c"
	producerSpan  = "b7ad6b7169203331"
)

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	mu     sync.Mutex
	spans  []*otlp.Span
	schema string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var batch collector.ExportTraceServiceRequest
	data, err := io.ReadAll(req.Body)
	if err == nil {
		err = proto.Unmarshal(data, &batch)
	}
	if err != nil || req.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range batch.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			r.spans = append(r.spans, ss.GetSpans()...)
			if ss.GetScope().GetName() == "github.com/outboxd/outboxd" {
				r.schema = ss.GetSchemaUrl()
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// named returns the only span of a name.
func (r *receiver) named(t *testing.T, name string) *otlp.Span {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*otlp.Span
	for _, s := range r.spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %q among %v, want 1", len(found), name, r.spans)
	}
	return found[0]
}

func attributes(s *otlp.Span) map[string]string {
	all := make(map[string]string)
	for _, a := range s.GetAttributes() {
		all[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return all
}

func start(t *testing.T) (*receiver, *tracing.Tracer) {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL) // the exporter reads the process's own
	tracer, err := tracing.New(t.Context(), tracing.Config{
		Env:    func(name string) string { return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL}[name] },
		Worker: "w1", Collection: "outbox", Version: "v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, tracer
}

func sms(flags string) *outbox.Intent {
	return &outbox.Intent{ID: outbox.NewStringID("m1"), Kind: outbox.KindSMS, Attempts: 1, DueAt: time.Now().Add(-time.Second),
		Trace: outbox.Trace{Parent: "00-" + producerTrace + "-" + producerSpan + "-" + flags, State: "a=b"}}
}

func TestSpans(t *testing.T) {
	r, tracer := start(t)
	var headers http.Header
	provider := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { headers = req.Header }))
	defer provider.Close()

	ctx, span := tracer.Call(t.Context(), sms("01"), outbox.Send, time.Now())
	transport := providers.NewTransport(providers.TransportConfig{}).Wrapped(tracer.Wrap)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, provider.URL+"/Messages.json?To=%2B4915112345678", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	d := outbox.Decision{Status: outbox.StatusPending, Outcome: outbox.Transient, Failure: &outbox.Failure{Class: outbox.Transient, Code: outbox.CodePanicked, Message: "said +4915112345678"}}
	d.Trace = span.Trace()
	span.End(d)
	tracer.Wrote(time.Now(), []outbox.Settlement{{Decision: d}}, nil)
	tracer.Claimed("sms", time.Now(), 10, 1, nil)
	tracer.Claimed("sms", time.Now(), 10, 1, nil) // not the first of a hundred
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	process := r.named(t, "process sms")
	id := hex.EncodeToString(process.GetSpanId())
	if hex.EncodeToString(process.GetTraceId()) != producerTrace || hex.EncodeToString(process.GetParentSpanId()) != producerSpan || len(process.GetLinks()) != 1 {
		t.Errorf("the attempt's span does not continue the producer's trace: %v", process)
	}
	if d.Trace.ID() != producerTrace || d.Trace.SpanID() != id || d.Trace.State != "a=b" {
		t.Errorf("follow-ups would continue %+v, want the span %s of the producer's trace", d.Trace, id)
	}
	if got := attributes(process); got["messaging.message.id"] != "m1" || got["error.type"] != outbox.CodePanicked || got["outboxd.outcome"] != "transient" {
		t.Errorf("the attempt's span has the attributes %v", got)
	}
	call := r.named(t, "GET")
	if hex.EncodeToString(call.GetParentSpanId()) != id || attributes(call)["url.full"] != provider.URL+"/Messages.json" {
		t.Errorf("the request's span is %v, want one below the attempt, its address without the query", call)
	}
	if headers.Get("Traceparent") != "" {
		t.Error("the provider was told of our trace")
	}
	settle := r.named(t, "settle outbox")
	if len(settle.GetLinks()) != 1 || hex.EncodeToString(settle.GetLinks()[0].GetSpanId()) != id {
		t.Errorf("the settle's span has the links %v, want one to the attempt", settle.GetLinks())
	}
	r.named(t, "claim outbox")
	for _, s := range r.spans {
		if strings.Contains(s.String(), "4915112345678") {
			t.Errorf("a span holds the phone number: %v", s)
		}
	}
	if !strings.HasSuffix(r.schema, "/1.43.0") {
		t.Errorf("the schema is %q, want that of version 1.43.0", r.schema)
	}
}

// The producer said that its trace is not sampled.
func TestNotSampled(t *testing.T) {
	r, tracer := start(t)
	_, span := tracer.Call(t.Context(), sms("00"), outbox.LookUp, time.Now())
	d := outbox.Decision{Trace: span.Trace()}
	span.End(d)
	tracer.Wrote(time.Now(), []outbox.Settlement{{Decision: d}}, nil)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.spans) != 0 {
		t.Errorf("%d spans were exported, want none: %v", len(r.spans), r.spans)
	}
	if d.Trace.ID() != producerTrace || !strings.HasSuffix(d.Trace.Parent, "-00") {
		t.Errorf("follow-ups would continue %q, want the producer's trace, unsampled", d.Trace.Parent)
	}
}

// A failure of the database always has a span, and none of its words.
func TestFailures(t *testing.T) {
	r, tracer := start(t)
	tracer.Wrote(time.Now(), []outbox.Settlement{{}}, errors.New("duplicate key: someone@example.com"))
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := r.named(t, "settle outbox")
	if s.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR || strings.Contains(s.String(), "someone") {
		t.Errorf("the span of a failed settle is %v", s)
	}
}

func TestOff(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"no endpoint": {},
		"disabled":    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"},
		"no exporter": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		tracer, err := tracing.New(context.Background(), tracing.Config{Env: func(name string) string { return env[name] }})
		if tracer != nil || err != nil {
			t.Errorf("%s: there is a tracer %v, error %v; want neither", name, tracer, err)
		}
	}
	_, err := tracing.New(context.Background(), tracing.Config{Env: func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}[name]
	}})
	if err == nil || !strings.Contains(err.Error(), "http/json") {
		t.Errorf("a protocol that is not there: %v", err)
	}
}

var _ dispatcher.Tracer = (*tracing.Tracer)(nil)
