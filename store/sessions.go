package store

import (
	"context"
	"errors"
	"time"

	"github.com/outboxd/outboxd/store/internal/expr"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Sessions are the sessions of people who signed in, where every admin process sees them. It is safe for concurrent
// use. Time is the database's.
type Sessions struct{ *Store }

// Sessions returns the sessions of the outbox.
func (s *Store) Sessions() *Sessions { return &Sessions{s} }

// Start stores a session that ends after life, or when nobody used it for idle. The data are kept as they are.
func (s *Sessions) Start(ctx context.Context, key, person string, data []byte, life, idle time.Duration) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.sessions.UpdateOne(ctx, bson.D{{Key: "_id", Value: equal(key)}}, mongo.Pipeline{{{Key: "$set", Value: bson.D{
		{Key: "who", Value: expr.Literal(person)}, {Key: "data", Value: expr.Literal(bson.Binary{Data: data})},
		{Key: "since", Value: "$$NOW"}, {Key: "ends", Value: fromNow(life)}, {Key: "purge_at", Value: fromNow(min(idle, life))},
	}}}}, options.UpdateOne().SetUpsert(true))
	return failed(err, "store a session")
}

// Use returns the data of a session that has not ended, and prolongs it by idle within its life. ok is false if it has
// ended, or never was.
func (s *Sessions) Use(ctx context.Context, key string, idle time.Duration) (data []byte, ok bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var doc struct {
		Data bson.Binary `bson:"data"`
	}
	// The database deletes what has ended up to a minute late.
	open := bson.D{{Key: "$gt", Value: bson.A{"$purge_at", "$$NOW"}}}
	err = s.sessions.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: equal(key)}, {Key: "$expr", Value: open}},
		mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "purge_at", Value: bson.D{{Key: "$min", Value: bson.A{"$ends", fromNow(idle)}}}}}}}},
	).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, false, nil
	}
	return doc.Data.Data, err == nil, failed(err, "read a session")
}

// Keep replaces the data of a session. A session that ended stays ended.
func (s *Sessions) Keep(ctx context.Context, key string, data []byte) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.sessions.UpdateOne(ctx, bson.D{{Key: "_id", Value: equal(key)}}, bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: bson.Binary{Data: data}}}}})
	return failed(err, "keep a session")
}

// End ends a session. It is no error if there is none.
func (s *Sessions) End(ctx context.Context, key string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.sessions.DeleteOne(ctx, bson.D{{Key: "_id", Value: equal(key)}})
	return failed(err, "end a session")
}
