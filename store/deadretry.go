package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// RetryDead makes a dead letter pending again and due at once, as [outbox.RetryDead] decided from the document that
// [Store.Dead] or [Store.Get] returned. It notes who did so and why. Its history, last_error and progress stay. If the
// document is no longer the dead letter that was read, nothing is written and the error wraps [ErrChanged].
func (s *Store) RetryDead(ctx context.Context, raw bson.Raw, retry outbox.DeadRetry, by, why string) error {
	return s.retryDead(ctx, raw, retry, outbox.Hand{By: by, Why: why})
}

func (s *Store) retryDead(ctx context.Context, raw bson.Raw, retry outbox.DeadRetry, hand outbox.Hand) error {
	who := texts(bson.E{Key: "by", Value: hand.By}, bson.E{Key: "why", Value: hand.Why})
	due := any("$$NOW")
	if !hand.Due.IsZero() {
		due = bson.D{{Key: "$max", Value: bson.A{"$$NOW", bson.NewDateTimeFromTime(hand.Due)}}}
	}
	times, _ := raw.Lookup("retried", "n").AsInt64OK()
	set := bson.D{
		{Key: "status", Value: outbox.StatusPending},
		{Key: "due_at", Value: due},
		{Key: "max_attempts", Value: retry.MaxAttempts},
		// The contract allows last_error and history only beside it. One that died without an attempt has none.
		{Key: "first_attempt_at", Value: expr.IfNull("$first_attempt_at", "$$NOW")},
		{Key: "retried", Value: stamped(bson.E{Key: "n", Value: int32(times + 1)}, who...)},
	}
	if retry.Generation > 0 {
		set = append(set, bson.E{Key: "generation", Value: retry.Generation})
	}
	if retry.Doubt {
		set = append(set, bson.E{Key: "ambiguous_at", Value: expr.IfNull("$ambiguous_at", "$$NOW")})
	}
	set = append(set, recording(raw, outbox.WhatRetry, append(who, texts(bson.E{Key: "job", Value: hand.Job})...)...)...)
	return s.byHand(ctx, fmt.Sprintf("retry the dead letter %s", raw.Lookup("_id")), raw, set, "dead_at", "dead_reason", "purge_at", "lease")
}
