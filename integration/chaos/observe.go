package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/chaos/check"
)

// observer reads every change of the outbox from a change stream, with each document before and after it, in the
// order in which the majority took them.
type observer struct {
	stage  *stage
	client *mongo.Client
	token  bson.Raw

	mu      sync.Mutex
	changes []check.Change
	seen    map[string]chan struct{} // marks that somebody waits for
}

type event struct {
	Token bson.Raw `bson:"_id"`
	NS    struct {
		Coll string `bson:"coll"`
	} `bson:"ns"`
	Type string         `bson:"operationType"`
	Time bson.Timestamp `bson:"clusterTime"`
	Txn  *int64         `bson:"txnNumber"`
	LSID struct {
		ID bson.Binary `bson:"id"`
	} `bson:"lsid"`
	Key struct {
		ID string `bson:"_id"`
	} `bson:"documentKey"`
	After  *check.Doc `bson:"fullDocument"`
	Before *check.Doc `bson:"fullDocumentBeforeChange"`
}

// newObserver begins to read.
func newObserver(ctx context.Context, s *stage) (*observer, *mongo.ChangeStream, error) {
	client, err := s.connect()
	if err != nil {
		return nil, nil, err
	}
	s.later(func() error { return s.disconnect(client) })
	o := &observer{stage: s, client: client, seen: make(map[string]chan struct{})}
	stream, err := o.open(ctx)
	return o, stream, err
}

func (o *observer) open(ctx context.Context) (*mongo.ChangeStream, error) {
	opts := options.ChangeStream().SetFullDocument(options.WhenAvailable).SetFullDocumentBeforeChange(options.WhenAvailable)
	if o.token != nil {
		opts.SetResumeAfter(o.token)
	}
	only := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "ns.coll", Value: bson.D{{Key: "$in", Value: bson.A{collection, marks}}}}}}}}
	return o.client.Database(o.stage.db.Name()).Watch(ctx, only, opts)
}

// run reads until ctx ends. The driver resumes by itself after most errors, and run does after the others.
func (o *observer) run(ctx context.Context, stream *mongo.ChangeStream) error {
	for {
		for stream.Next(ctx) {
			var e event
			if err := stream.Decode(&e); err != nil {
				return fmt.Errorf("read a change: %w", err)
			}
			o.token = e.Token
			if err := o.take(e); err != nil {
				return err
			}
		}
		_ = stream.Close(context.WithoutCancel(ctx)) // it has ended anyway
		for {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // Told to end: what the stream met meanwhile is no matter.
			}
			var err error
			if stream, err = o.open(ctx); err == nil {
				break
			}
			if command, ok := errors.AsType[mongo.CommandError](err); ok && command.HasErrorLabel("NonResumableChangeStreamError") {
				return fmt.Errorf("resume reading changes: %w", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (o *observer) take(e event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.NS.Coll == marks {
		if seen := o.seen[e.Key.ID]; seen != nil {
			close(seen)
			delete(o.seen, e.Key.ID)
		}
		return nil
	}
	c := check.Change{Time: e.Time, Before: e.Before, After: e.After}
	if e.Txn != nil {
		c.Txn = fmt.Sprintf("%x/%d", e.LSID.ID.Data, *e.Txn)
	}
	if e.Type != "insert" && c.Before == nil || e.Type != "delete" && c.After == nil {
		return fmt.Errorf("the change stream showed an %s of %s without its documents", e.Type, e.Key.ID)
	}
	o.changes = append(o.changes, c)
	return nil
}

// catchUp returns once everything that was written before is read.
func (o *observer) catchUp(ctx context.Context) ([]check.Change, error) {
	id, seen := bson.NewObjectID().Hex(), make(chan struct{})
	o.mu.Lock()
	o.seen[id] = seen
	o.mu.Unlock()
	if _, err := o.stage.db.Collection(marks).InsertOne(ctx, bson.D{{Key: "_id", Value: id}}); err != nil {
		return nil, fmt.Errorf("mark the end of the changes: %w", err)
	}
	select {
	case <-seen:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the change stream: %w", context.Cause(ctx))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changes, nil
}
