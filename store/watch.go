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
	// firstRefused is the pause after the database has refused it, doubling with jitter: a privilege may be granted, but not soon.
	firstRefused   = time.Minute
	longestRefused = 10 * time.Minute
	// awaitChange is how long the server keeps a question open that has no answer yet; the default of a second would be a
	// query a second of each idle worker.
	awaitChange = 15 * time.Second
	// dueSoon is how far ahead of the database's clock a producer's may be for its intents to be hinted at.
	dueSoon = time.Second
)

// Hints are what [Store.Watch] calls. None of them may block. A nil one is not called, Wake excepted.
type Hints struct {
	// Wake hints that an intent of the kind is due; "" means any kind.
	Wake func(kind string)
	// Intent hints that an intent of a kind is due, and names it. Nil: Wake is called.
	Intent func(kind string, id outbox.ID)
	// Due hints that an intent of the kind is due at a later instant of the database's; "" means any kind.
	Due func(kind string, at time.Time)
	// Lane hints that what workers share about a lane has changed. Nil: Wake is called.
	Lane func(kind string)
	// Refused tells that the database refuses change streams, each time it does. The error wraps [ErrNoWatch].
	Refused func(err error)
	// Open tells when the stream is open, so that every later change is hinted at, and when it no longer is.
	Open func(open bool)
}

// Watch hints at changes that may concern a lane, until ctx ends; then it returns nil. It blocks. One change stream serves
// the intents and the lanes' documents.
//
// It is a hint and nothing more: it may be late, missing or repeated, so callers poll as well. It opens the stream again
// after an error, and wakes everybody then. Where the database refuses change streams it tries again every few minutes.
func (s *Store) Watch(ctx context.Context, hints Hints) error {
	pause := reopening{}
	for {
		began := time.Now()
		err := s.watch(ctx, hints)
		if ctx.Err() != nil {
			return nil
		}
		refused := hasCode(err, codeUnauthorized) || hasCode(err, codeNotReplicaSet) || hasCode(err, codeNotSupported)
		if refused && hints.Refused != nil {
			hints.Refused(failed(errors.Join(ErrNoWatch, err), "watch the outbox"))
		}
		d := pause.next(refused, time.Since(began) > longestReopen)
		if !pauseFor(ctx, d/2+rand.N(d/2)) {
			return nil
		}
	}
}

// reopening is the pause before a change stream is opened again.
type reopening struct {
	refused bool
	pause   time.Duration
}

// next returns the pause; held says that the stream was open for long.
func (r *reopening) next(refused, held bool) time.Duration {
	first, most := firstReopen, longestReopen
	if refused {
		first, most = firstRefused, longestRefused
	}
	if refused != r.refused || held || r.pause == 0 {
		r.pause = first
	} else {
		r.pause = min(2*r.pause, most)
	}
	r.refused = refused
	return r.pause
}

// change is what the pipeline leaves of a change in the database.
type change struct {
	Collection string        `bson:"collection"`
	ID         bson.RawValue `bson:"id"`
	Kind       bson.RawValue `bson:"kind"`
	DueAt      bson.RawValue `bson:"due_at"`
}

// watch serves one change stream until it ends.
func (s *Store) watch(ctx context.Context, hints Hints) error {
	stream, err := s.db.Watch(ctx, s.changes(), options.ChangeStream().SetFullDocument(options.Default).SetMaxAwaitTime(awaitChange))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = stream.Close(closing) // the server drops it by itself as well
	}()
	if hints.Open != nil {
		hints.Open(true)
		defer hints.Open(false)
	}
	hints.Wake("") // for what happened before it was open
	for stream.Next(ctx) {
		var c change
		if err := stream.Decode(&c); err != nil {
			return err
		}
		s.hint(c, hints)
	}
	return stream.Err()
}

func (s *Store) hint(c change, hints Hints) {
	switch c.Collection {
	case s.lanes.Name():
		kind, _ := c.ID.StringValueOK()
		if hints.Lane == nil {
			hints.Wake(kind)
			return
		}
		hints.Lane(kind)
	case s.intents.Name():
		kind, _ := c.Kind.StringValueOK() // an update does not tell it
		if due, ok := c.DueAt.TimeOK(); ok && due.After(s.Now()) {
			// A producer's clock may be a little ahead: a claim made now would find nothing, and nobody would look again soon.
			if hints.Due != nil {
				hints.Due(kind, due)
			} else if due.Before(s.Now().Add(dueSoon)) {
				hints.Wake(kind)
			}
			return
		}
		if id, ok := named(c.ID); ok && kind != "" && hints.Intent != nil {
			hints.Intent(kind, id)
			return
		}
		hints.Wake(kind)
	}
}

// named returns the identity that a raw _id is, if the contract allows it.
func named(raw bson.RawValue) (outbox.ID, bool) {
	left := 1
	value, err := decodeValue(raw.Type, raw.Value, wholeShape, 1, &left)
	if err != nil {
		return outbox.ID{}, false
	}
	switch v := value.(type) {
	case outbox.ID:
		return v, true
	case string:
		return outbox.NewStringID(v), true
	default:
		return outbox.ID{}, false
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
