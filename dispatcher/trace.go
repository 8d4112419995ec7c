package dispatcher

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Tracer makes the spans of a worker. It is used by many goroutines at once, and must not block.
type Tracer interface {
	// Call begins the span of a call to the provider, at the given instant of the database. The context that it
	// returns carries the span, so that the provider's requests become its children.
	Call(ctx context.Context, in *outbox.Intent, action outbox.Action, at time.Time) (context.Context, Span)
	// Claimed tells of a claim that began at the given instant, asked for some intents of a kind, and got some.
	Claimed(kind string, began time.Time, asked, got int, err error)
	// Wrote tells of one try to write a batch, which began at the given instant.
	Wrote(began time.Time, batch []outbox.Settlement, err error)
}

// Span is the span of one call. Only one goroutine uses it.
type Span interface {
	// Trace returns its context, which logs name and follow-ups continue.
	Trace() outbox.Trace
	// End ends it with what was decided.
	End(d outbox.Decision)
}

// called tells that a call begins, and begins its span, if there are spans.
func (l *lane) called(ctx context.Context, c *claimed, action outbox.Action) context.Context {
	at := l.store.Now()
	l.observer.Called(c.in, action, at)
	if l.tracer == nil {
		return ctx
	}
	ctx, c.span = l.tracer.Call(ctx, c.in, action, at)
	return ctx
}

// ended ends the call's span, if there is one. The decision then names it.
func (c *claimed) ended(d *outbox.Decision) {
	if c.span == nil {
		return
	}
	d.Trace = c.span.Trace()
	c.span.End(*d)
}
