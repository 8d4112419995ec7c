package store

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// MostForeign bounds what [Store.Foreign] counts.
const MostForeign = 1000

// Foreign counts documents of the collection that have no kind, up to a bound. They are no intents, and no worker
// writes to them. An index holds exactly these.
func (s *Store) Foreign(ctx context.Context) (int64, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n, err := s.hints.CountDocuments(ctx, bson.D{{Key: "kind", Value: nil}}, options.Count().SetHint(indexForeign).SetLimit(MostForeign))
	return n, failed(err, "count documents without a kind")
}

// UseNamespace sets the namespace of the outbox, which is part of every intent's keys at the providers. It must be
// called before the first intent is read.
func (s *Store) UseNamespace(namespace string) { s.rules.Namespace = namespace }
