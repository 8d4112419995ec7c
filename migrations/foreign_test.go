package migrations_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func create(t *testing.T, db *mongo.Database, command bson.D) {
	t.Helper()
	if err := db.RunCommand(t.Context(), command).Err(); err != nil {
		t.Fatal(err)
	}
}

// A collection that another program uses is refused before anything is changed, by every way to ask.
func TestUpRefusesAForeignCollection(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		docs []any
		want string
	}{
		"pending without a kind":  {[]any{doc{"_id": 3, "topic": "order.created", "status": "pending", "body": doc{"n": 1}}}, `(1 document, such as the one with _id {"$numberInt":"3"})`},
		"a kind that is a number": {[]any{doc{"_id": "x", "kind": 7, "status": "pending", "due_at": now, "payload": doc{}}, intent("sms", sms())}, `(1 document, such`},
		"a kind without payload":  {[]any{doc{"_id": "x", "kind": "order.created", "status": "pending"}, doc{"_id": "y", "kind": "order.paid", "status": "sent"}}, `(2 documents, such`},
		"pending without due_at":  {[]any{doc{"_id": "x", "kind": "order.created", "status": "pending", "payload": doc{}}}, `(1 document, such`},
		"an own field":            {[]any{doc{"_id": "x", "kind": "order.created", "status": "pending", "due_at": now, "payload": doc{}, "topic": "t"}}, `(1 document, such`},
		"a document as _id":       {[]any{doc{"_id": doc{"tenant": "secret"}, "status": "new"}}, "_id of type document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := mongotest.Database(t)
			outbox := db.Collection("outbox")
			if _, err := outbox.InsertMany(t.Context(), test.docs); err != nil {
				t.Fatal(err)
			}
			m := migrations.New(db, "")
			_, upErr := m.Up(t.Context())
			_, planErr := m.Plan(t.Context())
			s, err := m.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for how, err := range map[string]error{"up": upErr, "plan": planErr, "status": s.Refused} {
				if !errors.Is(err, migrations.ErrForeign) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--adopt") || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: %v", how, err)
				}
			}
			if got := collections(t, db); !slices.Equal(got, []string{"outbox"}) {
				t.Errorf("collections %q", got)
			}
			if specs, err := outbox.Indexes().ListSpecifications(t.Context()); err != nil || len(specs) != 1 {
				t.Errorf("%d indexes, %v", len(specs), err)
			}
			if _, err := outbox.InsertOne(t.Context(), doc{"anything": 1}); err != nil {
				t.Errorf("the other program's insert: %v", err)
			}
			if _, err := m.Adopt().Up(t.Context()); err != nil {
				t.Errorf("adopted: %v", err)
			}
			if _, err := m.Up(t.Context()); err != nil {
				t.Errorf("again, once it is adopted: %v", err)
			}
		})
	}
}

func TestUpRefusesAForeignValidator(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	create(t, db, bson.D{{Key: "create", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "topic", Value: bson.D{{Key: "$type", Value: "string"}}}}}})
	m := migrations.New(db, "")
	if _, err := m.Up(t.Context()); !errors.Is(err, migrations.ErrForeign) || !strings.Contains(err.Error(), "has a validator that outboxd did not set") {
		t.Errorf("got %v", err)
	}
	if got := collections(t, db); !slices.Equal(got, []string{"outbox"}) {
		t.Errorf("collections %q", got)
	}
	if _, err := m.Adopt().Up(t.Context()); err != nil {
		t.Errorf("adopted: %v", err)
	}
}

// What is no other program's is taken as it is.
func TestUpTakesWhatIsNotForeign(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*testing.T, *mongo.Database){
		"empty":   func(t *testing.T, db *mongo.Database) { create(t, db, bson.D{{Key: "create", Value: "outbox"}}) },
		"intents": func(t *testing.T, db *mongo.Database) { insert(t, db, intent("sms", sms()), intent("fax", doc{})) },
		"an outbox restored without its record, with a dead letter that breaks the contract": func(t *testing.T, db *mongo.Database) {
			if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.Collection("outbox_meta").Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			insert(t, db, doc{"kind": "sms", "status": "dead", "dead_at": time.Now(), "dead_reason": "invalid"})
		},
		"an outbox whose validator was taken away": func(t *testing.T, db *mongo.Database) {
			if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{}}})
			insert(t, db, doc{"kind": "sms"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := mongotest.Database(t)
			prepare(t, db)
			if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func insert(t *testing.T, db *mongo.Database, docs ...any) {
	t.Helper()
	if _, err := db.Collection("outbox").InsertMany(t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
}

func TestForeignTTL(t *testing.T) {
	t.Parallel()
	ttl := func(collection, name string, keys, partial bson.D) func(*testing.T, *mongo.Database) {
		return func(t *testing.T, db *mongo.Database) {
			ix := bson.D{{Key: "key", Value: keys}, {Key: "name", Value: name}, {Key: "expireAfterSeconds", Value: 3600}}
			if partial != nil {
				ix = append(ix, bson.E{Key: "partialFilterExpression", Value: partial})
			}
			create(t, db, bson.D{{Key: "createIndexes", Value: collection}, {Key: "indexes", Value: bson.A{ix}}})
		}
	}
	field := func(name string) bson.D { return bson.D{{Key: name, Value: 1}} }
	for name, test := range map[string]struct {
		prepare func(*testing.T, *mongo.Database)
		want    string
	}{
		"created_at":     {ttl("outbox", "cleanup", field("created_at"), nil), `db.outbox.dropIndex("cleanup")`},
		"due_at":         {ttl("outbox", "old", field("due_at"), nil), `db.outbox.dropIndex("old")`},
		"dead_at":        {ttl("outbox", "letters", field("dead_at"), nil), `db.outbox.dropIndex("letters")`},
		"partial":        {ttl("outbox", "some", field("x"), bson.D{{Key: "kind", Value: "sms"}}), `db.outbox.dropIndex("some")`},
		"meta":           {ttl("outbox_meta", "until", field("until"), nil), `db.outbox_meta.dropIndex("until")`},
		"a name as ours": {ttl("outbox_lanes", "ttl", field("at"), nil), `db.outbox_lanes.dropIndex("ttl")`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t)
			m := migrations.New(db, "")
			if got, err := m.Endangered(t.Context()); err != nil || len(got) > 0 {
				t.Fatalf("before: %q, %v", got, err)
			}
			test.prepare(t, db)
			got, err := m.Endangered(t.Context())
			if err != nil || len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("got %q, %v", got, err)
			}
			if drift, err := m.Drift(t.Context()); err != nil || len(drift) > 0 {
				t.Errorf("drift %q, %v", drift, err)
			}
		})
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	index := func(t *testing.T, db *mongo.Database, name string, change bson.D) {
		create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "index", Value: append(bson.D{{Key: "name", Value: name}}, change...)}})
	}
	drop := func(t *testing.T, db *mongo.Database, name string) {
		if err := db.Collection("outbox").Indexes().DropOne(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		change func(*testing.T, *mongo.Database)
		want   string
		byHand bool // migrate cannot mend it
	}{
		"index missing": {func(t *testing.T, db *mongo.Database) { drop(t, db, "claim") }, "create index claim", false},
		"index hidden": {func(t *testing.T, db *mongo.Database) { index(t, db, "expires", bson.D{{Key: "hidden", Value: true}}) },
			"unhide index expires", false},
		"index of other keys": {func(t *testing.T, db *mongo.Database) {
			drop(t, db, "dead")
			create(t, db, bson.D{{Key: "createIndexes", Value: "outbox"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "dead_at", Value: 1}}}, {Key: "name", Value: "dead"}}}}})
		}, `dropIndex("dead")`, true},
		"ttl of another time": {func(t *testing.T, db *mongo.Database) {
			index(t, db, "ttl", bson.D{{Key: "expireAfterSeconds", Value: 60}})
		},
			`dropIndex("ttl")`, true},
		"validator removed": {func(t *testing.T, db *mongo.Database) {
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{}}})
		}, "set the contract as validator", false},
		"validator changed": {func(t *testing.T, db *mongo.Database) {
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "kind", Value: "sms"}}}})
		}, "set the contract as validator", false},
		"level off": {func(t *testing.T, db *mongo.Database) {
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationLevel", Value: "off"}})
		}, "set the contract as validator", false},
		"level strict": {func(t *testing.T, db *mongo.Database) {
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationLevel", Value: "strict"}})
		}, "set the contract as validator", false},
		"action warn": {func(t *testing.T, db *mongo.Database) {
			create(t, db, bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationAction", Value: "warn"}})
		}, "set the contract as validator", false},
		"view missing": {func(t *testing.T, db *mongo.Database) {
			if err := db.Collection("outbox_dead").Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, "create view outbox_dead", false},
		"namespace missing": {func(t *testing.T, db *mongo.Database) {
			if _, err := db.Collection("outbox_meta").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}}); err != nil {
				t.Fatal(err)
			}
		}, "no namespace", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t)
			m := migrations.New(db, "")
			if got, err := m.Drift(t.Context()); err != nil || len(got) > 0 {
				t.Fatalf("before: %q, %v", got, err)
			}
			test.change(t, db)
			got, err := m.Drift(t.Context())
			if err != nil || len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			if _, err := m.Up(t.Context()); (err != nil) != test.byHand {
				t.Errorf("migrate: %v", err)
			}
			if got, err := m.Drift(t.Context()); err != nil || (len(got) > 0) != test.byHand {
				t.Errorf("after a migrate: %q, %v", got, err)
			}
		})
	}
}
