package integration

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
)

// The database and the worker hold one contract: what the validator lets in, the worker can read, and what the worker
// accepts, the validator lets in.
func TestValidatorAndParserAgree(t *testing.T) {
	t.Parallel()
	list := corpus()
	docs := make([]bson.Raw, len(list))
	for i, s := range list {
		if s.doc["_id"] == "x" { // each its own, of the same length
			s.doc["_id"] = string(rune('𠀀' + i))
		}
		var err error
		if docs[i], err = bson.Marshal(s.doc); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	accepted := acceptedByDatabase(t, list, docs)
	valid, invalid := 0, 0
	for i, s := range list {
		in := outbox.Parse(document(docs[i]), outbox.Rules{WriteBack: []string{"orders"}})
		if in.Status != outbox.StatusPending && in.Status != "" {
			continue // not a producer's; what the worker writes is the store's to prove
		}
		switch byParser := len(in.Problems) == 0; {
		case accepted[i] && byParser:
			valid++
		case !accepted[i] && !byParser:
			invalid++
		case byParser && s.worker: // a worker reads what a later one may have written; it does not store what it does not know
			invalid++
		case byParser:
			t.Errorf("%s: the parser accepts what the database refuses", s.name)
		case !s.mayFailLater(in):
			t.Errorf("%s: the database accepts what the parser refuses: %v", s.name, in.Problems)
		}
	}
	t.Logf("%d documents: both accept %d and refuse %d", len(list), valid, invalid)
}

// acceptedByDatabase reports for each document whether the validator of a migrated outbox accepts it. The validator
// is a query: it is run as one over a collection without a validator, which is a thousand times as fast as explaining
// as many refusals.
func acceptedByDatabase(t *testing.T, list []specimen, docs []bson.Raw) []bool {
	t.Helper()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").AnyKind().Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	specs, err := db.ListCollectionSpecifications(t.Context(), bson.D{{Key: "name", Value: "outbox"}})
	if err != nil || len(specs) != 1 {
		t.Fatalf("read the outbox's options: %v, %d collections", err, len(specs))
	}
	validator := specs[0].Options.Lookup("validator").Document()

	collection := db.Collection("corpus")
	place := make(map[string]int, len(list))
	for i, s := range list {
		id := identity(docs[i])
		if before, twice := place[id]; twice {
			t.Fatalf("%s has the _id of %s", s.name, list[before].name)
		}
		place[id] = i
	}
	_, err = collection.InsertMany(t.Context(), docs, options.InsertMany().SetOrdered(false))
	if bulk, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		for _, w := range bulk.WriteErrors {
			if !strings.Contains(list[w.Index].name, "_id = ") { // an _id that no collection takes
				t.Errorf("%s: %v", list[w.Index].name, w)
			}
		}
	} else if err != nil {
		t.Fatal(err)
	}
	cursor, err := collection.Find(t.Context(), validator, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make([]bool, len(list))
	for cursor.Next(t.Context()) {
		accepted[place[identity(cursor.Current)]] = true
	}
	if err := cursor.Err(); err != nil {
		t.Fatal(err)
	}
	return accepted
}

// identity is a document's _id, with its type.
func identity(doc bson.Raw) string {
	id := doc.Lookup("_id")
	return string(append([]byte{byte(id.Type)}, id.Value...))
}

// mayFailLater reports whether the contract leaves it to the worker to find the problems, because no validator can
// know: what a reference comes to, what the worker's configuration allows, how long a follow-up's _id becomes, and
// types within documents that may hold anything, at any depth.
func (s specimen) mayFailLater(in *outbox.Intent) bool {
	for _, p := range in.Problems {
		concerns := strings.HasPrefix(p.Path, "on_d") || strings.HasPrefix(p.Path, "write_back")
		switch {
		case s.refers && concerns:
		case strings.Contains(p.Path, "template_data"): // found at once, at any depth
			return false
		case strings.Contains(p.Text, "of the follow-up would have more than"),
			strings.Contains(p.Text, "that the contract does not know"), strings.Contains(p.Text, "which the contract does not know"),
			strings.Contains(p.Text, "configuration allows"), strings.HasPrefix(p.Path, "write_back.id") && strings.Contains(p.Text, "no operator"):
		case strings.Contains(p.Path, "write_back.id") && strings.Contains(p.Text, "no operator"):
		default:
			return false
		}
	}
	return true
}
