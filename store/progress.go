package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// SaveProgress stores p as the intent's progress, whole. It returns [outbox.ErrLeaseLost] if the claim's token no
// longer holds. After any other error nobody knows whether it is stored; it is [outbox.ErrUnreached] where the intent
// has no part in it.
func (s *Store) SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error {
	doing := fmt.Sprintf("save the progress of intent %s", in.ID)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	fence := bson.D{{Key: "_id", Value: equal(idOf(in))}, {Key: "lease.token", Value: in.Lease.Token}}
	update := expr.Set(bson.D{{Key: "progress", Value: encodeDocument(p)}})
	var result *mongo.UpdateResult
	err := s.bypassing(ctx, func(bypass bool) (err error) {
		// One document by a classic update: the driver repeats it by itself, exactly once.
		result, err = s.intents.UpdateOne(ctx, fence, update, options.UpdateOne().SetBypassDocumentValidation(bypass))
		return err
	})
	switch {
	case err != nil && !refusal(err):
		return fmt.Errorf("%w: %w", outbox.ErrUnreached, failed(err, "%s", doing))
	case err != nil:
		return failed(err, "%s", doing)
	case result.MatchedCount == 0:
		return fmt.Errorf("%s: %w", doing, outbox.ErrLeaseLost)
	}
	return nil
}

// equal matches a value whatever it is: without $eq a document that begins with an operator would be one.
func equal(v any) bson.D { return expr.Eq(v) }
