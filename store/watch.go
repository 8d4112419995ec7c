package store

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

const (
	firstReopen   = 250 * time.Millisecond // pause before a change stream is opened again, doubling with jitter
	longestReopen = 30 * time.Second
	// firstRefused is the pause after the database has refused it, doubling with jitter: a privilege may be granted,
	// but not soon.
	firstRefused   = time.Minute
	longestRefused = 10 * time.Minute
	// awaitChange is how long the server keeps a question open that has no answer yet; the default of a second would be
	// a query a second of each idle worker.
	awaitChange = 15 * time.Second
)

// Watcher is what [Store.Watch] tells. None of its functions may block. They are called by one goroutine at a time.
type Watcher struct {
	// Notify is told of each hint.
	Notify func(outbox.Hint)
	// Open tells when the stream is open, so that every later change is hinted at, and when it no longer is. It may be
	// nil.
	Open func(open bool)
	// Refused tells that the database refuses change streams, each time it does. The error wraps [ErrNoWatch]. It may
	// be nil.
	Refused func(err error)
}

// Watch hints at changes that may concern a lane, until ctx ends; then it returns nil. It blocks. One change stream
// serves the intents and the lanes' documents.
//
// It is a hint and nothing more: it may be late, missing or repeated, so callers poll as well. It opens the stream
// again after an error, and hints at everything then. Where the database refuses change streams it tries again every
// few minutes.
func (s *Store) Watch(ctx context.Context, w Watcher) error {
	pause := reopening{}
	for ctx.Err() == nil {
		began := time.Now()
		err := s.watch(ctx, w)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // that is how a caller ends it, and no failure
		}
		refused := hasCode(err, codeUnauthorized) || hasCode(err, codeNotReplicaSet) || hasCode(err, codeNotSupported)
		if refused && w.Refused != nil {
			w.Refused(failed(errors.Join(ErrNoWatch, err), "watch the outbox"))
		}
		d := pause.next(refused, time.Since(began) > longestReopen)
		_ = timing.Sleep(ctx, timing.Jitter(d))
	}
	return nil
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
func (s *Store) watch(ctx context.Context, w Watcher) error {
	stream, err := s.db.Watch(ctx, s.changes(), options.ChangeStream().SetFullDocument(options.Default).SetMaxAwaitTime(awaitChange))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = stream.Close(closing) // the server drops it by itself as well
	}()
	if w.Open != nil {
		w.Open(true)
		defer w.Open(false)
	}
	w.Notify(outbox.Hint{}) // for what happened before it was open
	for stream.Next(ctx) {
		var c change
		if err := stream.Decode(&c); err != nil {
			return err
		}
		if h, ok := s.hint(c); ok {
			w.Notify(h)
		}
	}
	return stream.Err()
}

// hint returns what a change hints at, if anything does.
func (s *Store) hint(c change) (h outbox.Hint, ok bool) {
	switch c.Collection {
	case s.lanes.Name():
		h.Kind, _ = c.ID.StringValueOK()
		h.Shared = true
		return h, true
	case s.intents.Name():
		h.Kind, _ = c.Kind.StringValueOK() // an update does not tell it
		if due, ok := c.DueAt.TimeOK(); ok && due.After(s.Now()) {
			h.Due = due // a producer's clock may be a little ahead: a claim made now would find nothing
			return h, true
		}
		if id, ok := named(c.ID); ok && h.Kind != "" {
			h.ID = id
		}
		return h, true
	}
	return h, false
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

// changes is the change stream's pipeline: inserts that wait, changes of due_at that are no claims, and everything
// about lanes; of each only what a hint needs.
func (s *Store) changes() mongo.Pipeline {
	const updated = "updateDescription.updatedFields."
	intents := bson.D{{Key: "ns.coll", Value: s.intents.Name()}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "operationType", Value: expr.In(bson.A{"insert", "replace"})}, {Key: "fullDocument.status", Value: outbox.StatusPending}},
		bson.D{{Key: "operationType", Value: "update"}, {Key: updated + "due_at", Value: expr.Exists(true)},
			{Key: updated + "status", Value: expr.Ne(outbox.StatusLeased)}},
	}}}
	return mongo.Pipeline{
		expr.Match(expr.Or(bson.D{{Key: "ns.coll", Value: s.lanes.Name()}}, intents)),
		expr.Project(bson.D{
			{Key: "collection", Value: "$ns.coll"},
			{Key: "id", Value: "$documentKey._id"},
			{Key: "kind", Value: "$fullDocument.kind"},
			{Key: "due_at", Value: expr.IfNull("$fullDocument.due_at", "$"+updated+"due_at")},
		}),
	}
}
