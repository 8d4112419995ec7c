package store

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/store/internal/expr"
)

// MayClaim reports why no lease can be taken: this user may not write, or no majority of the members takes a write. It
// makes the write of a claim, on an _id that no document has, so that it changes nothing.
func (s *Store) MayClaim(ctx context.Context) error {
	nobody := bson.D{{Key: "_id", Value: bson.NewObjectID()}}
	_, err := s.intents.UpdateMany(ctx, nobody, expr.Set(bson.D{{Key: "lease.token", Value: ""}}))
	return failed(err, "take a lease")
}
