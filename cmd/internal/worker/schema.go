package worker

import (
	"context"
	"errors"
	"log/slog"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

// errOtherNamespace is why a worker is not ready any more.
var errOtherNamespace = errors.New("the outbox was given another namespace while this worker ran; restart the worker")

// fits reports whether the schema is one that this worker can work with, and the outbox still has the namespace that
// the worker read when it started.
func fits(ctx context.Context, schema *migrations.Migrator, namespace string) error {
	if err := schema.Check(ctx); err != nil {
		return err
	}
	if now, err := schema.Namespace(ctx); err != nil || now != namespace {
		return errors.Join(err, errOtherNamespace)
	}
	return nil
}

// inspect warns of three things for which `outboxd doctor` would fail, but with which a worker can go on: objects of
// the schema that were changed or dropped, TTL indexes that delete intents, and documents that are no intents.
func inspect(ctx context.Context, schema *migrations.Migrator, db *store.Store, log *slog.Logger) {
	drift, err := schema.Drift(ctx)
	for _, what := range drift {
		log.Warn("the schema is not as this version needs it", "what", what, "remedy", "run `outboxd migrate`")
	}
	dangers, dangerErr := schema.Endangered(ctx)
	for _, what := range dangers {
		log.Warn("the database deletes intents", "what", what)
	}
	n, countErr := db.Foreign(ctx)
	if n > 0 {
		log.Warn("the collection holds documents without a kind; they are no intents, and are left alone", "count", n)
	}
	if err := errors.Join(err, dangerErr); err != nil && ctx.Err() == nil {
		log.Warn("comparing the schema with what this version needs failed; `outboxd doctor` tells more", "err", err)
	}
	if countErr != nil && ctx.Err() == nil && len(drift) == 0 { // else the index is missing, which was said
		log.Warn("counting documents that are no intents failed", "err", countErr)
	}
}
