package integration

import (
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/providers/simulator"
)

// beside returns a second deployment that uses the same accounts at the providers: another database, or another
// collection of the same database.
func (w *world) beside(collection string) *world {
	w.Helper()
	other := *w
	if collection == "" {
		other.db = mongotest.Database(w)
		collection = "outbox"
	}
	other.outbox = other.db.Collection(collection)
	other.secrets = append(append([]string(nil), w.secrets...), "OUTBOXD_COLLECTION="+collection)
	runProgram(w, other.environment(), "outboxd", "migrate")
	return &other
}

// Equal ids in two databases, in two collections or of two types are different effects, and no id imitates a
// generation.
func TestEqualIdsInDifferentPlacesAreDifferentEffects(t *testing.T) {
	t.Parallel()
	first := newWorld(t, brief)
	database, collection := first.beside(""), first.beside("second")
	object := bson.NewObjectID()
	uuid := bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte{0x9a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}}
	text := "9a010203-0405-4607-8809-0a0b0c0d0e0f"
	charged := 0
	for _, w := range []*world{first, database, collection} {
		for _, id := range []any{"order-7", object, object.Hex(), uuid, text, "x:g1", "x/1"} {
			d := charge("same")
			d["_id"] = id
			w.insert(d)
			charged++
		}
		// What was declined once and is tried again by hand: generation 1.
		w.smuggle(with(charge("x"), bson.M{"generation": int32(1), "attempts": int32(1), "first_attempt_at": time.Now()}))
		charged++
	}
	for _, w := range []*world{first, database, collection} {
		w.worker()
	}
	for _, w := range []*world{first, database, collection} {
		w.waitFor("all are done", charged/3, bson.D{{Key: "status", Value: "done"}})
	}
	receipts := make(map[string]int)
	for _, w := range []*world{first, database, collection} {
		var ids []string
		if err := w.outbox.Distinct(t.Context(), "result.id", bson.D{}).Decode(&ids); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			receipts[id]++
		}
	}
	if effects := first.sim.effects(); len(effects) != charged || len(receipts) != charged {
		t.Errorf("%d intents are done with %d different receipts, and Stripe charged %d times", charged, len(receipts), len(effects))
	}
}

// What one outbox sent is no answer to what another asks for, though both name it by the same id.
func TestALookUpFindsOnlyItsOwnOutbox(t *testing.T) {
	t.Parallel()
	first := newWorld(t, brief)
	for name, second := range map[string]*world{"another-database": first.beside(""), "another-collection": first.beside("second")} {
		first.drainOne(t, email("order-"+name), name)
		// The second's first request never reaches the provider's mill, and only a look-up can tell.
		first.sim.fail(simulator.Fault{Provider: "sendgrid", Route: "send", When: simulator.Before, Do: simulator.DoDrop})
		second.drainOne(t, email("order-"+name), name)
		if n := first.sim.tally().of("order-" + name); n != 2 {
			t.Errorf("%s: two e-mails are done, and %d were sent", name, n)
		}
	}
	// And of two types in one outbox.
	object := bson.NewObjectID()
	one, other := email(object.Hex()), email(object.Hex())
	other["_id"] = object
	first.drainOne(t, one, "a string")
	first.sim.fail(simulator.Fault{Provider: "sendgrid", Route: "send", When: simulator.Before, Do: simulator.DoDrop})
	first.drainOne(t, other, "an ObjectId")
	sent := 0
	for _, e := range first.sim.effects() {
		if e.To == object.Hex()+"@example.org" {
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("an ObjectId and the string of the same digits: two e-mails are done, and %d were sent", sent)
	}
}

// drainOne has a worker carry out one intent.
func (w *world) drainOne(t *testing.T, doc bson.M, name string) {
	t.Helper()
	w.insert(doc)
	w.drain()
	if in := w.get(doc["_id"]); in.Status != "done" {
		t.Errorf("%s: %v is %s, want done; last error %+v", name, doc["_id"], in.outcome(), in.LastError)
	}
}

// Each outbox has a namespace of its own, which a second migration leaves as it is, and --new-namespace replaces.
func TestEachOutboxHasANamespace(t *testing.T) {
	t.Parallel()
	first := newWorld(t, brief)
	seen := make(map[string]string)
	namespace := func(w *world) string {
		t.Helper()
		var doc bson.M
		if err := w.db.Collection(w.outbox.Name()+"_meta").FindOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}}).Decode(&doc); err != nil {
			t.Fatalf("read the namespace: %v", err)
		}
		delete(doc, "_id")
		return fmt.Sprint(doc)
	}
	for name, w := range map[string]*world{"the first": first, "another database": first.beside(""), "another collection": first.beside("second")} {
		ns := namespace(w)
		if other, twice := seen[ns]; twice {
			t.Errorf("%s has the namespace of %s", name, other)
		}
		seen[ns] = name
		runProgram(t, w.environment(), "outboxd", "migrate")
		if again := namespace(w); again != ns {
			t.Errorf("%s: a second migration made %s of %s", name, again, ns)
		}
		runProgram(t, w.environment(), "outboxd", "migrate", "--new-namespace")
		if again := namespace(w); again == ns {
			t.Errorf("%s: --new-namespace left it as it was", name)
		}
	}
	// While a charge is half done, its key must stay what it is.
	first.sim.fail(simulator.Fault{Provider: "stripe", Route: "confirm", Do: simulator.DoStatus, Status: 500, Match: simulator.Match{Times: -1}})
	first.insert(charge("half done"))
	worker := first.worker()
	first.waitFor("the charge has progress", 1, bson.D{{Key: "progress", Value: bson.D{{Key: "$exists", Value: true}}}})
	worker.stop()
	if code, text := first.try(nil, "migrate", "--new-namespace"); code == 0 {
		t.Errorf("--new-namespace is not refused while a charge is half done: %s", text)
	}
}
