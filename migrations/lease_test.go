package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

// crashed leaves the lease of a migrator that is no more.
func crashed(t *testing.T, db *mongo.Database, left time.Duration) {
	t.Helper()
	_, err := db.Collection("outbox_meta").UpdateByID(t.Context(), "migrate", mongo.Pipeline{{{Key: "$set", Value: bson.D{
		{Key: "token", Value: "gone"}, {Key: "owner", Value: "host:1"},
		{Key: "until", Value: bson.D{{Key: "$add", Value: bson.A{"$$NOW", left.Milliseconds()}}}}}}}}, options.UpdateOne().SetUpsert(true))
	if err != nil {
		t.Fatal(err)
	}
}

func TestCrashedMigratorsLeaseEnds(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	m := migrations.New(db, "")
	began := time.Now()
	crashed(t, db, time.Second)
	if s, err := m.Status(t.Context()); err != nil || s.Running == nil || s.Running.Owner != "host:1" {
		t.Errorf("status beside a running migration: %+v, %v", s, err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("took the lease after %s, while the other still had it", took)
	}
	if s, err := m.Status(t.Context()); err != nil || s.Running != nil || s.Have != 1 {
		t.Errorf("status afterwards: %+v, %v", s, err)
	}
}

func TestWaitingNamesWhoRuns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Ended as soon as the lease was asked for once, so that what is interrupted is the waiting.
	db := mongotest.Database(t, options.Client().SetMonitor(&event.CommandMonitor{Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
		if e.CommandName == "findAndModify" {
			cancel()
		}
	}}))
	crashed(t, db, time.Hour)
	_, err := migrations.New(db, "").Up(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "host:1") {
		t.Errorf("got %v, want the owner's name", err)
	}
}

func TestLeaseIsRenewedAndFenced(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	meta := db.Collection("outbox_meta")
	const d = 3 * time.Second // much for a busy machine, and renewed twice a second
	until := func() time.Time {
		t.Helper()
		var l struct{ Until time.Time }
		if err := meta.FindOne(t.Context(), bson.D{{Key: "_id", Value: "migrate"}}).Decode(&l); err != nil {
			t.Fatal(err)
		}
		return l.Until
	}
	held, release, err := migrations.Hold(t.Context(), meta, d)
	if err != nil {
		t.Fatal(err)
	}
	first := until()
	for until().Equal(first) {
		if err := context.Cause(held); err != nil {
			t.Fatalf("not renewed: %v", err)
		}
	}

	crashed(t, db, time.Hour) // another took it
	select {
	case <-held.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the lease is still held though another took it")
	}
	if err := context.Cause(held); !errors.Is(err, migrations.ErrLeaseLost) {
		t.Errorf("cause %v, want ErrLeaseLost", err)
	}
	release()
	if n, err := meta.CountDocuments(t.Context(), bson.D{{Key: "token", Value: "gone"}}); n != 1 || err != nil {
		t.Errorf("giving a lost lease back took the other's: %d, %v", n, err)
	}
}
