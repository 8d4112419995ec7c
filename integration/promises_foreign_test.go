package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// unmigrated is a deployment whose database is still empty.
func unmigrated(tb testing.TB) *world {
	tb.Helper()
	db := mongotest.Database(tb)
	w := &world{TB: tb, db: db, outbox: db.Collection("outbox"), config: filepath.Join(tb.TempDir(), "outboxd.yaml")}
	if err := os.WriteFile(w.config, []byte(brief), 0o600); err != nil {
		tb.Fatal(err)
	}
	w.sim = startSim(tb)
	return w
}

// all reads every document of a collection.
func (w *world) all(c *mongo.Collection) (docs []bson.D) {
	w.Helper()
	cursor, err := c.Find(w.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err == nil {
		err = cursor.All(w.Context(), &docs)
	}
	if err != nil {
		w.Fatal(err)
	}
	return docs
}

// The collection is another program's: migrate leaves it as it is and says so. Where a person adopts it, what is no
// intent is still never touched.
func TestACollectionOfAnotherProgramIsLeftAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, foreign := range map[string]func(n int) bson.M{
		"a home-made outbox": func(n int) bson.M {
			return bson.M{"_id": int32(n), "topic": "order.created", "status": "pending", "body": bson.M{"n": n}, "createdAt": now}
		},
		"another library's outbox": func(n int) bson.M {
			return bson.M{"_id": bson.NewObjectID(), "aggregatetype": "order", "aggregateid": fmt.Sprint(n), "type": "created", "payload": `{"n":1}`}
		},
		"leases of another queue": func(n int) bson.M {
			return bson.M{"_id": fmt.Sprint(n), "status": "leased", "due_at": now.Add(-time.Hour), "lease": bson.M{"token": "t", "owner": "o", "at": now}, "priority": int32(7)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := unmigrated(t)
			const count = 25
			var docs []any
			for n := range count {
				docs = append(docs, foreign(n))
			}
			if _, err := w.outbox.InsertMany(t.Context(), docs); err != nil {
				t.Fatal(err)
			}
			before := w.all(w.outbox)
			code, text := w.try(nil, "migrate")
			if code != 1 || !strings.Contains(text, fmt.Sprint(count)) || !strings.Contains(text, "--adopt") {
				t.Errorf("migrate ends with %d, want 1, and says how many and --adopt: %s", code, text)
			}
			if _, err := w.outbox.InsertOne(t.Context(), foreign(99)); err != nil {
				t.Errorf("the other program cannot insert any more: %v", err)
			}
			if indexes, err := w.outbox.Indexes().ListSpecifications(t.Context()); err != nil || len(indexes) != 1 {
				t.Errorf("the other program's collection has %d indexes, error %v", len(indexes), err)
			}
			if code, text := w.try(nil, "worker", "--migrate", "--until-empty"); code == 0 {
				t.Errorf("a worker with --migrate takes it: %s", text)
			}
			if code, text := w.try(nil, "migrate", "--adopt"); code != 0 {
				t.Fatalf("migrate --adopt ends with %d: %s", code, text)
			}
			w.insert(sms("mine"))
			worker := w.worker()
			w.settled("mine")
			page := ""
			eventually(t, "the metrics count what is no intent", func() bool {
				page = w.scrape(worker, "/metrics")
				return strings.Contains(page, fmt.Sprint(" ", count+1, "\n"))
			})
			worker.stop()
			w.drain() // sweeps at its start
			for _, was := range before {
				var is bson.D
				if err := w.outbox.FindOne(t.Context(), bson.D{{Key: "_id", Value: was[0].Value}}).Decode(&is); err != nil || !reflect.DeepEqual(was, is) {
					t.Errorf("a document of the other program became %v, error %v", is, err)
				}
			}
			if code, text := w.try(nil, "doctor"); code != 1 || !strings.Contains(text, fmt.Sprint(count+1)) {
				t.Errorf("doctor ends with %d, want 1, and counts what is no intent: %s", code, text)
			}
		})
	}
}

// A few strangers among many intents are found, and a collection of intents alone is none of another program's.
func TestMigrateTakesACollectionOfIntents(t *testing.T) {
	t.Parallel()
	w := unmigrated(t)
	w.insert(sms("one"), charge("two"), with(email("three"), bson.M{"due_at": time.Now().Add(time.Hour)}))
	if _, err := w.outbox.InsertOne(t.Context(), bson.M{"_id": "stranger", "topic": "x"}); err != nil {
		t.Fatal(err)
	}
	if code, text := w.try(nil, "migrate"); code != 1 || !strings.Contains(text, "stranger") {
		t.Errorf("migrate ends with %d, want 1, and names the stranger: %s", code, text)
	}
	if _, err := w.outbox.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "stranger"}}); err != nil {
		t.Fatal(err)
	}
	if code, text := w.try(nil, "migrate"); code != 0 {
		t.Errorf("migrate of a collection of intents ends with %d: %s", code, text)
	}
	w.drain()
	for _, id := range []string{"one", "two"} {
		if in := w.get(id); in.Status != "done" {
			t.Errorf("%s is %s", id, in.outcome())
		}
	}
}

// What somebody else did to the collection, so that intents are lost or not found: doctor fails on it, and a worker
// warns.
func TestWhatOthersDidToTheCollectionIsNoticed(t *testing.T) {
	t.Parallel()
	ttl := func(field string) func(w *world) error {
		return func(w *world) error {
			_, err := w.outbox.Indexes().CreateOne(w.Context(), mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: options.Index().SetName("cleanup").SetExpireAfterSeconds(86_400)})
			return err
		}
	}
	modify := func(change bson.D) func(w *world) error {
		return func(w *world) error {
			return w.db.RunCommand(w.Context(), append(bson.D{{Key: "collMod", Value: "outbox"}}, change...)).Err()
		}
	}
	for name, c := range map[string]struct {
		do    func(w *world) error
		names string
	}{
		"a TTL index on due_at":     {ttl("due_at"), "cleanup"},
		"a TTL index on created_at": {ttl("created_at"), "cleanup"},
		"a TTL index on metadata":   {ttl("metadata.at"), "cleanup"},
		"an index is missing":       {func(w *world) error { return w.outbox.Indexes().DropOne(w.Context(), "claim") }, "claim"},
		"an index is hidden":        {modify(bson.D{{Key: "index", Value: bson.D{{Key: "name", Value: "claim"}, {Key: "hidden", Value: true}}}}), "claim"},
		"an index is changed": {func(w *world) error {
			if err := w.outbox.Indexes().DropOne(w.Context(), "dedup"); err != nil {
				return err
			}
			_, err := w.outbox.Indexes().CreateOne(w.Context(), mongo.IndexModel{Keys: bson.D{{Key: "dedup_key", Value: 1}}, Options: options.Index().SetName("dedup")})
			return err
		}, "dedup"},
		"the validator is gone":     {modify(bson.D{{Key: "validator", Value: bson.D{}}}), "validator"},
		"the validator only warns":  {modify(bson.D{{Key: "validationAction", Value: "warn"}}), "valid"},
		"the validator is moderate": {modify(bson.D{{Key: "validationLevel", Value: "off"}}), "valid"},
		"the TTL is another":        {modify(bson.D{{Key: "index", Value: bson.D{{Key: "name", Value: "ttl"}, {Key: "expireAfterSeconds", Value: 3600}}}}), "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brief)
			if code, text := w.try(nil, "doctor"); code != 0 {
				t.Fatalf("doctor ends with %d on a fresh deployment: %s", code, text)
			}
			if err := c.do(w); err != nil {
				t.Fatal(err)
			}
			if code, text := w.try(nil, "doctor"); code != 1 || !strings.Contains(text, c.names) {
				t.Errorf("doctor ends with %d, want 1, and names %q: %s", code, c.names, text)
			}
			worker := w.worker()
			line := worker.find(worker.errOut, "a warning", func(line string) bool {
				return (strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`)) && strings.Contains(line, c.names)
			})
			t.Log(line)
		})
	}
}
