package store

import (
	"context"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/outbox"
)

// What every operation asks for, whatever the connection string or the server's defaults say. A claim that a failover
// rolled back would be sent twice; a settle that it rolled back would be sent again.
var (
	durable   = &writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: new(true)}
	committed = readconcern.Majority()
	latest    = readconcern.Local() // for hints, which may be wrong
	primary   = readpref.Primary()
	quick     = writeconcern.W1() // for figures that people look at, which a failover may lose
)

// Store is one outbox collection in MongoDB. It is safe for concurrent use.
type Store struct {
	client *mongo.Client // nil unless Connect made it
	db     *mongo.Database
	intents,
	hints, // the same collection, read without waiting for a majority
	lanes,
	workers,
	meta, // the census, read and written without waiting for a majority
	rates, // written without waiting for a majority
	jobs,
	audit,
	sessions,
	answers *mongo.Collection

	rules     outbox.Rules
	retention time.Duration
	cancelled time.Duration // how long what was cancelled without a purge_at is kept
	kept      time.Duration // how long the audit keeps a record; negative: for good
	operation time.Duration
	patience  time.Duration

	clock    clock
	orphans  orphans
	scanners scanners
	head     head
	validate atomic.Bool // the user may not bypass the validator, so writes go through it
}

// New returns a store on a collection of a database whose client the caller keeps and closes. The first claim asks the
// database for its time.
func New(db *mongo.Database, collection string, o Options) *Store {
	o.Collection = collection
	o = o.withDefaults()
	db = db.Client().Database(db.Name(), options.Database().SetReadPreference(primary).SetWriteConcern(durable).SetReadConcern(committed))
	return &Store{
		db:        db,
		intents:   db.Collection(o.Collection),
		hints:     db.Collection(o.Collection, options.Collection().SetReadConcern(latest)),
		lanes:     db.Collection(o.Collection + "_lanes"),
		workers:   db.Collection(o.Collection + "_workers"),
		meta:      db.Collection(o.Collection+"_meta", options.Collection().SetReadConcern(latest).SetWriteConcern(quick)),
		jobs:      db.Collection(o.Collection + "_jobs"),
		audit:     db.Collection(o.Collection + "_audit"),
		sessions:  db.Collection(o.Collection + "_sessions"),
		answers:   db.Collection(o.Collection + "_answers"),
		rates:     db.Collection(o.Collection+"_rates", options.Collection().SetReadConcern(latest).SetWriteConcern(quick)),
		rules:     o.Rules,
		retention: o.Retention,
		cancelled: o.RetentionCancelled,
		kept:      o.AuditKept,
		operation: o.Operation,
		patience:  o.Patience,
	}
}

// Close ends the connections that Connect opened. It does nothing for a store made by New.
func (s *Store) Close(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	return failed(s.client.Disconnect(ctx), "close the connections to MongoDB")
}

// Database returns the database that the store uses, with its concerns.
func (s *Store) Database() *mongo.Database { return s.db }

// Ready reports whether the database has a primary that answers; [ErrNoPrimary] or the reason why not.
func (s *Store) Ready(ctx context.Context) error { return s.hello(ctx) }

// Now returns the database's time as estimated: what it last told plus what has passed since by the monotonic clock. It
// never blocks. Before the database was first heard it is the local time.
func (s *Store) Now() time.Time {
	now, _ := s.clock.now()
	return now
}

// freshNow returns the database's time, and asks for it if the last answer is too old.
func (s *Store) freshNow(ctx context.Context) (time.Time, error) {
	now, fresh := s.clock.now()
	if fresh {
		return now, nil
	}
	if err := s.hello(ctx); err != nil {
		return time.Time{}, err
	}
	return s.Now(), nil
}

// bound limits an operation in time.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.operation)
}

// briefly limits a write of so many documents that may have to wait for what somebody else holds.
func (s *Store) briefly(ctx context.Context, documents int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.patience+time.Duration(documents)*time.Millisecond)
}

// updateMany updates documents of the outbox by a pipeline, past the validator where the user may.
func (s *Store) updateMany(ctx context.Context, filter any, pipeline mongo.Pipeline, hint string) (result *mongo.UpdateResult, err error) {
	err = s.bypassing(ctx, func(bypass bool) (err error) {
		o := options.UpdateMany().SetBypassDocumentValidation(bypass)
		if hint != "" {
			o.SetHint(bson.D{{Key: hint, Value: 1}})
		}
		result, err = s.intents.UpdateMany(ctx, filter, pipeline, o)
		return err
	})
	return result, err
}

// bypassing writes past the validator where the user may: an old document that breaks a newer rule must neither fail a
// whole batch nor be stuck.
func (s *Store) bypassing(ctx context.Context, write func(bypass bool) error) error {
	for {
		validate := s.validate.Load()
		err := write(!validate)
		if !validate && hasCode(err, codeUnauthorized) && mongo.SessionFromContext(ctx) == nil {
			s.validate.Store(true)
			continue
		}
		return err
	}
}
