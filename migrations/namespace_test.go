package migrations_test

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

var wantNamespace = regexp.MustCompile(`^[a-z0-9]{10}$`)

func namespace(t *testing.T, db *mongo.Database, collection string) string {
	t.Helper()
	ns, err := migrations.New(db, collection).Namespace(t.Context())
	if err != nil || !wantNamespace.MatchString(ns) {
		t.Fatalf("namespace %q, %v", ns, err)
	}
	return ns
}

func TestNamespaceIsMadeOnce(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Namespace(t.Context()); !errors.Is(err, migrations.ErrNotMigrated) || !strings.Contains(err.Error(), "run `outboxd migrate") {
		t.Errorf("before: %v", err)
	}
	const n = 4
	var g sync.WaitGroup
	names, errs := make([]string, n), make([]error, n)
	for i := range n {
		client := mongotest.Client(t)
		g.Go(func() {
			m := migrations.New(client.Database(db.Name()), "")
			if _, errs[i] = m.Up(t.Context()); errs[i] == nil {
				names[i], errs[i] = m.Namespace(t.Context())
			}
		})
	}
	g.Wait()
	first := namespace(t, db, "")
	for i := range n {
		if names[i] != first || errs[i] != nil {
			t.Errorf("client %d: %q, %v; want %q", i, names[i], errs[i], first)
		}
	}
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil || namespace(t, db, "") != first {
		t.Errorf("a second migrate: %v, %q", err, namespace(t, db, ""))
	}
	if _, err := migrations.New(db, "other").Up(t.Context()); err != nil || namespace(t, db, "other") == first {
		t.Errorf("another collection has the same namespace, or %v", err)
	}
}

// A database of a time before namespaces gets one, whatever is under way in it: progress goes on under its stored keys.
func TestNamespaceOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	begin(t, db, "pi")
	if _, err := db.Collection("outbox_meta").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}}); err != nil {
		t.Fatal(err)
	}
	m := migrations.New(db, "")
	if err := m.Check(t.Context()); !errors.Is(err, migrations.ErrNotMigrated) || !strings.Contains(err.Error(), "has no namespace; run `outboxd migrate") {
		t.Errorf("without one: %v", err)
	}
	if done, err := m.Up(t.Context()); err != nil || len(done) != 1 || done[0].Text != "give the outbox a namespace" {
		t.Errorf("migrate: %v, %v", done, err)
	}
	namespace(t, db, "")
}

// begin inserts an intent that has begun at a provider.
func begin(t *testing.T, db *mongo.Database, id string, change ...func(doc)) {
	t.Helper()
	d := changed(intent("charge", charge()), append([]func(doc){set("_id", id), set("first_attempt_at", time.Now()), set("progress", doc{"payment_intent": "pi_1"})}, change...))
	if _, err := db.Collection("outbox").InsertOne(t.Context(), d); err != nil {
		t.Fatal(err, migrations.Reasons(err))
	}
}

// A dump that was restored without the meta collection must not get a new namespace by the way: what the intents
// under way have at the providers is known under the old one.
func TestNamespaceLost(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	was := namespace(t, db, "")
	begin(t, db, "pi-1")
	if err := db.Collection("outbox_meta").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := migrations.New(db, "")
	if err := m.Check(t.Context()); !errors.Is(err, migrations.ErrNotMigrated) || !strings.Contains(err.Error(), "outbox_meta is lost: restore that collection from the backup first") {
		t.Errorf("check: %v", err)
	}
	before := collections(t, db)
	for _, try := range []*migrations.Migrator{m, m.Adopt()} {
		_, err := try.Up(t.Context())
		if !errors.Is(err, migrations.ErrNamespaceLost) || !strings.Contains(err.Error(), "1 intent of collection outbox") || !strings.Contains(err.Error(), `"pi-1"`) || !strings.Contains(err.Error(), "outbox_ns") {
			t.Errorf("migrate: %v", err)
		}
	}
	if s, err := m.Status(t.Context()); err != nil || !errors.Is(s.Refused, migrations.ErrNamespaceLost) {
		t.Errorf("status: %+v, %v", s, err)
	}
	if after := collections(t, db); len(after) != len(before) {
		t.Errorf("a refused migrate made %q of %q", after, before)
	}
	if _, err := db.Collection("outbox_meta").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}, {Key: "value", Value: was}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil || namespace(t, db, "") != was {
		t.Errorf("with the namespace written back: %v", err)
	}
}

func TestNamespaceOfAnotherForm(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"", "short", "UPPERCASE1", "with/slash", int32(7), nil, "elevenchars"} {
		db := migrated(t)
		if _, err := db.Collection("outbox_meta").UpdateByID(t.Context(), "namespace", bson.D{{Key: "$set", Value: bson.D{{Key: "value", Value: value}}}}); err != nil {
			t.Fatal(err)
		}
		if err := migrations.New(db, "").Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ten characters") {
			t.Errorf("%v: %v", value, err)
		}
		if _, err := migrations.New(db, "").Up(t.Context()); err == nil {
			t.Errorf("%v: migrate went on", value)
		}
	}
}

func TestNewNamespace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, change := range map[string]func(doc){
		"progress": func(doc) {},
		"doubt":    func(d doc) { delete(d, "progress"); d["ambiguous_at"] = now },
		"a lease":  func(d doc) { delete(d, "progress"); d["status"], d["lease"] = "leased", doc{"token": "t"} },
		"an outcome": func(d doc) {
			delete(d, "progress")
			d["outcome"] = doc{"event": "delivered", "receipt": doc{"provider": "stripe"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t)
			was := namespace(t, db, "")
			begin(t, db, "a", change)
			begin(t, db, "b", change)
			m := migrations.New(db, "")
			if _, _, err := m.NewNamespace(t.Context()); !errors.Is(err, migrations.ErrOpenProgress) || !strings.Contains(err.Error(), `2 intents of collection outbox have begun at a provider and are not settled, such as _id "`) {
				t.Errorf("with %s: %v", name, err)
			}
			if got := namespace(t, db, ""); got != was {
				t.Errorf("refused, and yet the namespace is %q", got)
			}
		})
	}
	db := migrated(t)
	was := namespace(t, db, "")
	done := changed(intent("charge", charge()), []func(doc){unset("due_at"), set("status", "done"), set("progress", doc{"payment_intent": "pi_1"})})
	if _, err := db.Collection("outbox").InsertMany(t.Context(), []any{done, intent("sms", sms())}); err != nil {
		t.Fatal(err)
	}
	before, after, err := migrations.New(db, "").NewNamespace(t.Context())
	if err != nil || before != was || after == was || namespace(t, db, "") != after {
		t.Errorf("%q became %q: %v", before, after, err)
	}
	if _, _, err := migrations.New(db, "none").NewNamespace(t.Context()); !errors.Is(err, migrations.ErrNotMigrated) {
		t.Errorf("of nothing: %v", err)
	}
}
