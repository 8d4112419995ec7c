package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Options configure a [Store]. The zero value of each field takes its default.
type Options struct {
	URI        string // connection string, for Connect only
	Database   string // defaults to the connection string's, else "outbox"
	Collection string // defaults to "outbox"
	AppName    string // shown in the server's logs and to failpoints; defaults to "outboxd"

	Rules     outbox.Rules  // what the deployment allows intents to do
	Retention time.Duration // how long done intents are kept; defaults to 168h
	// RetentionCancelled is how long intents are kept that were cancelled without a purge_at, from when a sweep finds
	// them. Defaults to 168h.
	RetentionCancelled time.Duration

	// AuditKept is how long a record of the audit is kept. Defaults to 400 days; negative: for good.
	AuditKept time.Duration

	// Selection bounds the wait for a primary in each operation. Defaults to 10s.
	Selection time.Duration
	// Operation bounds each operation whose context has no earlier deadline, so that a server which stopped answering
	// cannot hold a worker for ever. Defaults to 30s.
	Operation time.Duration
	// Patience is how long a write outside of a transaction waits for documents that somebody else holds, and a
	// millisecond more for each document. Then the culprit is looked for by transactions, to which the server says at
	// once that something is held. Defaults to 400ms.
	Patience time.Duration
	// Monitor sees each command, for metrics and tests. Nil for none.
	Monitor *event.CommandMonitor
}

const (
	defaultName      = "outbox"
	defaultRetention = 168 * time.Hour
	defaultAudit     = 400 * 24 * time.Hour
	defaultSelection = 10 * time.Second
	defaultOperation = 30 * time.Second
	defaultPatience  = 400 * time.Millisecond

	maxPoolSize   = 64
	maxConnecting = 8 // the driver's 2 makes a slow start after each failover
)

func (o Options) withDefaults() Options {
	o.Collection = cmp.Or(o.Collection, defaultName)
	o.AppName = cmp.Or(o.AppName, "outboxd")
	o.Retention = cmp.Or(o.Retention, defaultRetention)
	o.RetentionCancelled = cmp.Or(o.RetentionCancelled, defaultRetention)
	o.AuditKept = cmp.Or(o.AuditKept, defaultAudit)
	o.Selection = cmp.Or(o.Selection, defaultSelection)
	o.Operation = cmp.Or(o.Operation, defaultOperation)
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	return o
}

// Connect opens a store on the deployment at o.URI and waits until it has a primary, at most until ctx ends. The error
// is [ErrStandalone] for a server without a replica set. No error holds any part of the connection string.
func Connect(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	parsed, err := connstring.ParseAndValidate(o.URI)
	if err != nil {
		return nil, errors.New("the MongoDB connection string is not valid; see \"Connection Strings\" in the MongoDB manual")
	}
	client := options.Client().ApplyURI(o.URI).
		SetAppName(o.AppName).
		SetMaxPoolSize(maxPoolSize).SetMaxConnecting(maxConnecting).
		SetServerSelectionTimeout(o.Selection).
		SetRetryReads(true).SetRetryWrites(true).
		SetReadPreference(primary).SetWriteConcern(durable).SetReadConcern(committed)
	if o.Monitor != nil {
		client.SetMonitor(o.Monitor)
	}
	c, err := mongo.Connect(client)
	if err != nil {
		return nil, errors.New("the MongoDB connection string has options that do not go together; see \"Connection String Options\" in the MongoDB manual")
	}
	s := New(c.Database(cmp.Or(o.Database, parsed.Database, defaultName)), o.Collection, o)
	s.client = c
	if err := s.awaitPrimary(ctx); err != nil {
		_ = s.Close(context.WithoutCancel(ctx)) // it never worked, so nothing is lost by leaving it
		return nil, err
	}
	return s, nil
}

// awaitPrimary asks until a primary answers, and learns the database's time from it.
func (s *Store) awaitPrimary(ctx context.Context) error {
	for {
		err := s.hello(ctx)
		if err == nil || errors.Is(err, ErrStandalone) || hasCode(err, codeUnauthorized) || hasCode(err, codeAuthenticationFailed) {
			return err
		}
		if ctx.Err() != nil || timing.Sleep(ctx, awaitPause) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// awaitPause is the pause between two tries to reach a primary that was not there.
const awaitPause = 200 * time.Millisecond

// hello is what a server says of itself.
type hello struct {
	SetName   string    `bson:"setName"`
	Msg       string    `bson:"msg"` // "isdbgrid": mongos
	Writable  bool      `bson:"isWritablePrimary"`
	LocalTime time.Time `bson:"localTime"`
}

// usable returns why a store cannot work with the server.
func (h hello) usable() error {
	switch {
	case h.SetName == "" && h.Msg != "isdbgrid":
		return ErrStandalone
	case !h.Writable:
		return ErrNoPrimary
	default:
		return nil
	}
}

// hello asks the primary for its state and time.
func (s *Store) hello(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var answer hello
	asked := time.Now()
	if err := s.db.RunCommand(ctx, expr.Fields("hello")).Decode(&answer); err != nil {
		return failed(err, "reach a primary of MongoDB")
	}
	if err := answer.usable(); err != nil {
		return err
	}
	s.clock.tell(answer.LocalTime, asked)
	return nil
}
