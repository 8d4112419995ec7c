package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// KindStats counts the intents of one kind.
type KindStats struct {
	Kind      string // "" for documents without a readable kind
	Pending   int64
	Due       int64 // of those pending or leased, the ones that a claim would take now
	Leased    int64
	Done      int64
	Dead      int64
	Cancelled int64
	Other     int64         // of a status that the contract does not know
	OldestDue time.Duration // how long the oldest of the due has waited; 0 if none is due
}

// Stats counts all intents by kind, sorted by kind. It reads the whole collection: it is for people, not for loops.
func (s *Store) Stats(ctx context.Context) ([]KindStats, error) {
	const doing = "count the intents"
	due := expr.And(expr.Eq(expr.Type("$due_at"), "date"), expr.Lte("$due_at", "$$NOW"), expr.In(bson.A{"$status", bson.A{outbox.StatusPending, outbox.StatusLeased}}))
	text := func(field string) bson.D {
		return expr.Cond(expr.Eq(expr.Type(field), "string"), field, "")
	}
	cursor, err := s.hints.Aggregate(ctx, mongo.Pipeline{
		expr.Group(bson.D{
			{Key: "_id", Value: bson.D{{Key: "kind", Value: text("$kind")}, {Key: "status", Value: text("$status")}}},
			{Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}},
			{Key: "due", Value: bson.D{{Key: "$sum", Value: expr.Cond(due, 1, 0)}}},
			{Key: "oldest", Value: bson.D{{Key: "$max", Value: expr.Cond(due, expr.Subtract("$$NOW", "$due_at"), nil)}}},
		}),
	})
	if err != nil {
		return nil, failed(err, doing)
	}
	var found []struct {
		ID     struct{ Kind, Status string } `bson:"_id"`
		N      int64
		Due    int64
		Oldest *int64
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, failed(err, doing)
	}
	byKind := make(map[string]*KindStats)
	for _, f := range found {
		k := byKind[f.ID.Kind]
		if k == nil {
			k = &KindStats{Kind: f.ID.Kind}
			byKind[f.ID.Kind] = k
		}
		*k.of(outbox.Status(f.ID.Status)) += f.N
		k.Due += f.Due
		if f.Oldest != nil {
			k.OldestDue = max(k.OldestDue, time.Duration(*f.Oldest)*time.Millisecond)
		}
	}
	stats := make([]KindStats, 0, len(byKind))
	for _, k := range byKind {
		stats = append(stats, *k)
	}
	slices.SortFunc(stats, func(a, b KindStats) int { return cmp.Compare(a.Kind, b.Kind) })
	return stats, nil
}

// of returns the counter of a status.
func (k *KindStats) of(status outbox.Status) *int64 {
	switch status {
	case outbox.StatusPending:
		return &k.Pending
	case outbox.StatusLeased:
		return &k.Leased
	case outbox.StatusDone:
		return &k.Done
	case outbox.StatusDead:
		return &k.Dead
	case outbox.StatusCancelled:
		return &k.Cancelled
	default:
		return &k.Other
	}
}
