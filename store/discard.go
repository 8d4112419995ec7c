package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// discard ends a dead letter that [outbox.Discard] lets go: it becomes cancelled, and the database deletes it after a
// while. Its history says who did so.
func (s *Store) discard(ctx context.Context, raw bson.Raw, hand outbox.Hand) error {
	who := texts(bson.E{Key: "by", Value: hand.By}, bson.E{Key: "why", Value: hand.Why}, bson.E{Key: "job", Value: hand.Job})
	set := bson.D{
		{Key: "status", Value: outbox.StatusCancelled},
		{Key: "cancelled_at", Value: "$$NOW"},
		{Key: "purge_at", Value: expr.Add("$$NOW", s.cancelled.Milliseconds())},
		// The contract allows last_error and history only beside it.
		{Key: "first_attempt_at", Value: expr.IfNull("$first_attempt_at", "$$NOW")},
	}
	set = append(set, recording(raw, outbox.WhatDiscard, who...)...)
	return s.byHand(ctx, fmt.Sprintf("discard the dead letter %s", raw.Lookup("_id")), raw, set, "dead_at", "dead_reason")
}
