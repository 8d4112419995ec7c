package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Cancel cancels the pending intent that [Store.Get] returned and that [outbox.Cancel] lets go. Nothing that should
// follow it is carried out. It is one conditional update: if the intent is no longer what was read (a worker has
// claimed it, say), nothing is written and the error wraps [ErrChanged].
func (s *Store) Cancel(ctx context.Context, raw bson.Raw) error {
	set := bson.D{
		{Key: "status", Value: outbox.StatusCancelled},
		{Key: "cancelled_at", Value: "$$NOW"},
		{Key: "purge_at", Value: expr.Add("$$NOW", s.cancelled.Milliseconds())},
	}
	return s.byHand(ctx, fmt.Sprintf("cancel intent %s", raw.Lookup("_id")), raw, set, "due_at")
}
