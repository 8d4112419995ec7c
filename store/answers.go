package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	answerKept = 24 * time.Hour
	answerOpen = time.Minute // from when on a request without an answer counts as lost with its process
)

// Kept is the answer to a change, for a client that sends the same again.
type Kept struct {
	Print  string `bson:"print"` // of what was sent
	Status int    `bson:"status"`
	Type   string `bson:"type"`
	Body   []byte `bson:"body"`
}

// ReserveAnswer makes the key this request's: ok is true. Otherwise it was used before, and what was sent and answered
// then is returned. The status is 0 while the first request is under way.
func (d *Desk) ReserveAnswer(ctx context.Context, key, print string) (kept Kept, ok bool, err error) {
	const doing = "look for the answer to the same request"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	now, err := d.freshNow(ctx)
	if err != nil {
		return Kept{}, false, failed(err, doing)
	}
	free := bson.D{{Key: "_id", Value: equal(key)}, {Key: "status", Value: bson.D{{Key: "$exists", Value: false}}}, {Key: "until", Value: bson.D{{Key: "$lte", Value: now}}}}
	_, err = d.answers.UpdateOne(ctx, free, bson.D{{Key: "$set", Value: bson.D{
		{Key: "print", Value: print}, {Key: "until", Value: now.Add(answerOpen)}, {Key: "purge_at", Value: now.Add(answerKept)},
	}}}, options.UpdateOne().SetUpsert(true))
	if err == nil || !mongo.IsDuplicateKeyError(err) {
		return Kept{}, err == nil, failed(err, doing)
	}
	err = d.answers.FindOne(ctx, bson.D{{Key: "_id", Value: equal(key)}}).Decode(&kept)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return Kept{}, false, fmt.Errorf("%s: %w", doing, ErrChanged)
	}
	return kept, false, failed(err, doing)
}

// KeepAnswer keeps the answer for a day.
func (d *Desk) KeepAnswer(ctx context.Context, key string, k Kept) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	_, err := d.answers.UpdateOne(ctx, bson.D{{Key: "_id", Value: equal(key)}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: k.Status}, {Key: "type", Value: k.Type}, {Key: "body", Value: k.Body}}}})
	return failed(err, "keep an answer")
}

// ReleaseAnswer forgets a key, for nothing was done.
func (d *Desk) ReleaseAnswer(ctx context.Context, key string) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	_, err := d.answers.DeleteOne(ctx, bson.D{{Key: "_id", Value: equal(key)}})
	return failed(err, "forget a key without an answer")
}

// CursorKey returns the key that signs cursors of lists. All admin processes of an outbox have the same; the first
// makes it.
func (d *Desk) CursorKey(ctx context.Context, random []byte) ([]byte, error) {
	const doing = "read the key of cursors"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var doc struct {
		Key bson.Binary `bson:"cursor_key"`
	}
	for try := 1; ; try++ {
		err := d.meta.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: "admin"}},
			bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: "cursor_key", Value: bson.Binary{Data: random}}}}},
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(&doc)
		if mongo.IsDuplicateKeyError(err) && try == 1 { // another process was first
			continue
		}
		return doc.Key.Data, failed(err, doing)
	}
}
