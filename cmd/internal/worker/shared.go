package worker

import (
	"context"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// shared is what workers share, with this one's version beside its name in the registry.
type shared struct {
	*store.Store
	version string
}

// Heartbeat enters the worker in the registry.
func (s shared) Heartbeat(ctx context.Context, w outbox.Worker) (map[string]int, error) {
	w.Version = s.version
	return s.Store.Heartbeat(ctx, w)
}
