package tracing

import (
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/outboxd/outboxd/outbox"
)

// The conventions are those of version 1.43.0, whose messaging part is still in development. No other file names
// them.

// schema is the version of the conventions, as spans carry it.
const schema = semconv.SchemaURL

// Attributes of our own.
const (
	attrKind       = attribute.Key("outboxd.kind")
	attrAttempt    = attribute.Key("outboxd.attempt")
	attrGeneration = attribute.Key("outboxd.generation")
	attrOutcome    = attribute.Key("outboxd.outcome")
	attrStatus     = attribute.Key("outboxd.status")
	attrReason     = attribute.Key("outboxd.reason")
	attrCode       = attribute.Key("outboxd.code")
	attrQueueDelay = attribute.Key("outboxd.queue_delay_ms")
	attrLookUp     = attribute.Key("outboxd.lookup.result")
	attrAsked      = attribute.Key("outboxd.asked")
)

// about says what every span of a worker is about.
func (t *Tracer) about(operation attribute.KeyValue) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.MessagingSystemKey.String("outboxd"), operation,
		semconv.MessagingDestinationName(t.collection), semconv.MessagingClientID(t.worker)}
}

// call says which intent a call is about. Nothing of a payload is among it.
func (t *Tracer) call(in *outbox.Intent) []attribute.KeyValue {
	return append(t.about(semconv.MessagingOperationTypeProcess), semconv.MessagingMessageID(in.ID.String()),
		attrKind.String(in.Kind), attrAttempt.Int(in.Attempts), attrGeneration.Int(in.Generation))
}

// batch says how many intents a claim or a settle is about.
func (t *Tracer) batch(operation attribute.KeyValue, n int) []attribute.KeyValue {
	return append(t.about(operation), semconv.MessagingBatchMessageCount(n))
}

// The operations on batches.
var (
	receiving = semconv.MessagingOperationTypeReceive
	settling  = semconv.MessagingOperationTypeSettle
)

// decided says what came of a call. An answer of the business, such as a declined card, is no error.
func decided(d outbox.Decision, action outbox.Action) []attribute.KeyValue {
	var list []attribute.KeyValue
	add := func(key attribute.Key, value string) {
		if value != "" {
			list = append(list, key.String(value))
		}
	}
	if action == outbox.LookUp {
		add(attrLookUp, d.Event.String())
	}
	add(attrOutcome, string(d.Outcome))
	add(attrStatus, string(d.Status))
	add(attrReason, string(d.Reason))
	if f := failure(d); f != nil {
		add(attrCode, f.Code)
		if !f.Class.Business() {
			add(semconv.ErrorTypeKey, f.Code)
		}
	}
	return list
}

// failure returns what a call met, nil if it went well.
func failure(d outbox.Decision) *outbox.Failure {
	if d.Seen != nil {
		return d.Seen
	}
	return d.Failure
}

// address is a request's without its query, which may hold a phone number, and without a user.
func address(u *url.URL) attribute.KeyValue {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return semconv.URLFull(bare.String())
}
