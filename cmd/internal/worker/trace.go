package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/outboxd/outboxd/cmd/internal/tracing"
	"github.com/outboxd/outboxd/dispatcher"
)

// traceGrace bounds the export of the last spans when the worker ends.
const traceGrace = 3 * time.Second

// trace sets up the spans, if the environment wants them, and returns what takes them down.
func (w *worker) trace() (*tracing.Tracer, func(), error) {
	if w.Env == nil {
		return nil, func() {}, nil
	}
	t, err := tracing.New(w.stop, tracing.Config{Env: w.Env, Worker: w.name, Collection: w.Config.Mongo.Collection, Version: w.Version})
	if t == nil || err != nil {
		return nil, func() {}, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		w.Logger.Warn("exporting traces failed; intents are carried out all the same", "err", err)
	}))
	return t, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.stop), traceGrace)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			w.Logger.Warn("the last spans are lost", "err", err)
		}
	}, nil
}

// spans returns the tracer for the dispatcher, which knows none by nil.
func spans(t *tracing.Tracer) dispatcher.Tracer {
	if t == nil {
		return nil
	}
	return t
}
