package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// Filter chooses dead letters. Its zero value chooses all.
type Filter struct {
	Kind   string
	Reason outbox.DeadReason
	Code   string    // of last_error
	Since  time.Time // dead since then
	Limit  int       // at most so many; 0: all
}

// Dead yields dead letters, the newest first, as they stand in the database. A document is the caller's to keep. After an
// error it yields no more.
func (s *Store) Dead(ctx context.Context, f Filter) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		const doing = "list dead letters"
		since := earliest
		if !f.Since.IsZero() {
			since = bson.NewDateTimeFromTime(f.Since)
		}
		filter := bson.D{{Key: "dead_at", Value: bson.D{{Key: "$gte", Value: since}}}, {Key: "status", Value: outbox.StatusDead}}
		for _, field := range [][2]string{{"kind", f.Kind}, {"dead_reason", string(f.Reason)}, {"last_error.code", f.Code}} {
			if field[1] != "" {
				filter = append(filter, bson.E{Key: field[0], Value: field[1]})
			}
		}
		cursor, err := s.intents.Find(ctx, filter, options.Find().SetHint(indexDead).SetLimit(int64(f.Limit)).
			SetSort(bson.D{{Key: "dead_at", Value: -1}, {Key: "_id", Value: -1}}))
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

// Get returns the intent whose _id has the text: an ObjectId's hex, a UUID, or a string; or, as Extended JSON, an _id that
// the contract does not know, which a document can have that was written past the validator. [ErrNotFound] if there is
// none; an error as well if several of different types have it.
func (s *Store) Get(ctx context.Context, id string) (bson.Raw, error) {
	doing := fmt.Sprintf("get intent %q", id)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ids := bson.A{id}
	if oid, err := bson.ObjectIDFromHex(id); err == nil {
		ids = append(ids, oid)
	}
	if uuid, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil && len(uuid) == 16 && len(id) == 36 {
		ids = append(ids, bson.Binary{Subtype: bson.TypeBinaryUUID, Data: uuid})
	}
	var other struct {
		ID bson.RawValue `bson:"_id"`
	}
	if strings.HasPrefix(id, "{") && bson.UnmarshalExtJSON([]byte(`{"_id": `+id+`}`), false, &other) == nil {
		ids = append(ids, other.ID)
	}
	cursor, err := s.intents.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, failed(err, "%s", doing)
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: %w", doing, ErrNotFound)
	case 1:
		return found[0], nil
	default:
		return nil, fmt.Errorf("%s: %d intents of different _id types have that text; use mongosh", doing, len(found))
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
