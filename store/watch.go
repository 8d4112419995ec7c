package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

const (
	firstReopen   = 250 * time.Millisecond // pause before a change stream is opened again, doubling with jitter
	longestReopen = 30 * time.Second
	// dueSoon is how far ahead of the database's clock a producer's may be for its intents to be hinted at.
	dueSoon = time.Second
)

// Watch calls wake for changes that may concern a lane, until ctx ends; then it returns nil. It blocks. One change stream
// serves the intents and the lanes' documents: an intent that is due wakes its kind, a lane's document its lane, and ""
// means any kind.
//
// It is a hint and nothing more: it may be late, missing or repeated, so callers poll as well. It opens the stream again
// after an error, and wakes everybody then. Where the database refuses change streams it returns [ErrNoWatch]. wake must
// not block.
func (s *Store) Watch(ctx context.Context, wake func(kind string)) error {
	pause := firstReopen
	for {
		began := time.Now()
		err := s.watch(ctx, wake)
		switch {
		case ctx.Err() != nil:
			return nil
		case hasCode(err, codeUnauthorized), hasCode(err, codeNotReplicaSet):
			return failed(errors.Join(ErrNoWatch, err), "watch the outbox")
		}
		if time.Since(began) > longestReopen {
			pause = firstReopen
		}
		if !wait(ctx, pause/2+rand.N(pause/2)) {
			return nil
		}
		pause = min(2*pause, longestReopen)
	}
}

// change is what the pipeline leaves of a change in the database.
type change struct {
	Collection string        `bson:"collection"`
	ID         bson.RawValue `bson:"id"`
	Kind       bson.RawValue `bson:"kind"`
	DueAt      bson.RawValue `bson:"due_at"`
}

// watch serves one change stream until it ends.
func (s *Store) watch(ctx context.Context, wake func(kind string)) error {
	stream, err := s.db.Watch(ctx, s.changes(), options.ChangeStream().SetFullDocument(options.Default))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = stream.Close(closing) // the server drops it by itself as well
	}()
	wake("") // for what happened before it was open
	for stream.Next(ctx) {
		var c change
		if err := stream.Decode(&c); err != nil {
			return err
		}
		s.hint(c, wake)
	}
	return stream.Err()
}

func (s *Store) hint(c change, wake func(kind string)) {
	switch c.Collection {
	case s.lanes.Name():
		kind, _ := c.ID.StringValueOK()
		wake(kind)
	case s.intents.Name():
		if due, ok := c.DueAt.TimeOK(); ok && due.After(s.Now().Add(dueSoon)) {
			return
		}
		kind, _ := c.Kind.StringValueOK() // an update does not tell it
		wake(kind)
	}
}

// changes is the change stream's pipeline: inserts that wait, changes of due_at that are no claims, and everything about
// lanes; of each only what a hint needs.
func (s *Store) changes() mongo.Pipeline {
	const updated = "updateDescription.updatedFields."
	intents := bson.D{{Key: "ns.coll", Value: s.intents.Name()}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: bson.A{"insert", "replace"}}}}, {Key: "fullDocument.status", Value: outbox.StatusPending}},
		bson.D{{Key: "operationType", Value: "update"}, {Key: updated + "due_at", Value: bson.D{{Key: "$exists", Value: true}}},
			{Key: updated + "status", Value: bson.D{{Key: "$ne", Value: outbox.StatusLeased}}}},
	}}}
	return mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{bson.D{{Key: "ns.coll", Value: s.lanes.Name()}}, intents}}}}},
		{{Key: "$project", Value: bson.D{
			{Key: "collection", Value: "$ns.coll"},
			{Key: "id", Value: "$documentKey._id"},
			{Key: "kind", Value: "$fullDocument.kind"},
			{Key: "due_at", Value: bson.D{{Key: "$ifNull", Value: bson.A{"$fullDocument.due_at", "$" + updated + "due_at"}}}},
		}}},
	}
}
