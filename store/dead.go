package store

import (
	"bytes"
	"context"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Filter chooses dead letters. Its zero value chooses all.
type Filter struct {
	Kind   string
	Reason outbox.DeadReason
	Code   string    // of last_error
	Since  time.Time // dead since then
	Limit  int       // at most so many; 0: all
}

// Dead yields dead letters, the newest first, as they stand in the database. A document is the caller's to keep. After
// an error it yields no more.
func (s *Store) Dead(ctx context.Context, f Filter) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		const doing = "list dead letters"
		since := earliest
		if !f.Since.IsZero() {
			since = bson.NewDateTimeFromTime(f.Since)
		}
		filter := bson.D{{Key: "dead_at", Value: expr.Gte(since)}, {Key: "status", Value: outbox.StatusDead}}
		for _, field := range [][2]string{{"kind", f.Kind}, {"dead_reason", string(f.Reason)}, {"last_error.code", f.Code}} {
			if field[1] != "" {
				filter = append(filter, bson.E{Key: field[0], Value: field[1]})
			}
		}
		cursor, err := s.intents.Find(ctx, filter, options.Find().SetHint(indexDead).SetLimit(int64(f.Limit)).
			SetSort(expr.Descending("dead_at", "_id")))
		if err != nil {
			yield(nil, failed(err, doing))
			return
		}
		defer cursor.Close(context.WithoutCancel(ctx))
		for cursor.Next(ctx) {
			if !yield(bytes.Clone(cursor.Current), nil) {
				return
			}
		}
		if err := cursor.Err(); err != nil {
			yield(nil, failed(err, doing))
		}
	}
}

// Intent reads a document as [Store.Get] and [Store.Dead] return it.
func (s *Store) Intent(raw bson.Raw) (*outbox.Intent, error) {
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	return outbox.Parse(doc, s.rules), nil
}
