package store

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
)

// RetryDead makes a dead letter pending again, due after a delay by the database's clock, as [outbox.RetryDead] decided
// from the document that [Store.Dead] or [Store.Get] returned. Its history and last_error stay. If the document is no
// longer the dead letter that was read, nothing is written and the error wraps [ErrChanged].
func (s *Store) RetryDead(ctx context.Context, raw bson.Raw, retry outbox.DeadRetry, delay time.Duration) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	set := bson.D{
		{Key: "status", Value: outbox.StatusPending},
		{Key: "due_at", Value: bson.D{{Key: "$add", Value: bson.A{"$$NOW", delay.Milliseconds()}}}},
		{Key: "max_attempts", Value: retry.MaxAttempts},
	}
	unset := bson.A{"dead_at", "dead_reason", "purge_at", "lease"}
	if retry.NewKeys {
		set = append(set, bson.E{Key: "generation", Value: retry.Generation})
		unset = append(unset, "progress", "first_attempt_at")
	}
	filter := bson.D{
		{Key: "_id", Value: equal(raw.Lookup("_id"))},
		{Key: "status", Value: outbox.StatusDead},
	}
	if at, err := raw.LookupErr("dead_at"); err == nil { // it may have been retried, and have died again, since it was read
		filter = append(filter, bson.E{Key: "dead_at", Value: equal(at)})
	}
	result, err := s.updateMany(ctx, filter, mongo.Pipeline{{{Key: "$set", Value: set}}, {{Key: "$unset", Value: unset}}}, "_id")
	doing := fmt.Sprintf("retry the dead letter %s", raw.Lookup("_id"))
	if err != nil {
		return failed(err, "%s", doing)
	}
	if result.MatchedCount == 0 {
		return fmt.Errorf("%s: %w", doing, ErrChanged)
	}
	return nil
}
