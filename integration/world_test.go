package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// world is a deployment: a migrated database, the providers, and a configuration for workers.
type world struct {
	testing.TB
	db     *mongo.Database
	outbox *mongo.Collection
	sim    *sim
	config string // path of the workers' configuration

	secrets []string // variables that stand above those of the simulators
}

// brief is a configuration under which nothing takes long. Rates are out of the way.
const brief = `
lanes:
  charge: {rate: 10000/s, timeout: 5s, lease: 10s, retry: {base: 50ms, max: 500ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 20s}}
  email: {timeout: 5s, lease: 10s, retry: {base: 50ms, max: 500ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 20s}}
  sms: {timeout: 5s, lease: 10s, retry: {base: 50ms, max: 500ms}}
write_back: {collections: [payments, orders]}
kinds: [fax]
`

func newWorld(tb testing.TB, config string) *world {
	tb.Helper()
	db := mongotest.Database(tb)
	w := &world{TB: tb, db: db, outbox: db.Collection("outbox"), config: filepath.Join(tb.TempDir(), "outboxd.yaml")}
	if err := os.WriteFile(w.config, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	w.sim = startSim(tb)
	runProgram(tb, w.environment(), "outboxd", "migrate")
	return w
}

// environment is what a program of this deployment is started with.
func (w *world) environment() []string {
	env := environment("OUTBOXD_MONGODB_URI="+mongotest.URI(w), "OUTBOXD_DATABASE="+w.db.Name(), "OUTBOXD_CONFIG="+w.config,
		"OUTBOXD_LISTEN=127.0.0.1:0", "OUTBOX_API_LISTEN=127.0.0.1:0", "OUTBOXD_LOG_FORMAT=json")
	return append(append(env, w.sim.environment()...), w.secrets...)
}

// worker starts a worker.
func (w *world) worker(args ...string) *process {
	w.Helper()
	return start(w, w.environment(), "outboxd", append([]string{"worker"}, args...)...)
}

// drain runs a worker until nothing is left to do, also not within a while.
func (w *world) drain() {
	w.Helper()
	w.worker("--until-empty", "--within=20s").succeed()
}

// insert writes intents as a producer does.
func (w *world) insert(docs ...bson.M) {
	w.Helper()
	list := make([]any, len(docs))
	for i, d := range docs {
		list[i] = d
	}
	if _, err := w.outbox.InsertMany(w.Context(), list); err != nil {
		w.Fatalf("insert intents: %v", err)
	}
}

// smuggle writes documents past the validator.
func (w *world) smuggle(docs ...any) {
	w.Helper()
	if _, err := w.outbox.InsertMany(w.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		w.Fatalf("insert documents past the validator: %v", err)
	}
}

// intent is one as the database has it, as far as tests look at it.
type intent struct {
	ID          any       `bson:"_id"`
	Kind        any       `bson:"kind"`
	Status      any       `bson:"status"`
	Attempts    int       `bson:"attempts"`
	DeadReason  string    `bson:"dead_reason"`
	AmbiguousAt time.Time `bson:"ambiguous_at"`
	Result      struct {
		Provider, ID string
	} `bson:"result"`
	LastError struct {
		Class, Code, Message string
	} `bson:"last_error"`
}

// outcome says in a few words how an intent stands.
func (in intent) outcome() string {
	if in.Status != "dead" {
		return fmt.Sprint(in.Status)
	}
	return "dead/" + in.DeadReason
}

func (w *world) get(id any) intent {
	w.Helper()
	var in intent
	if err := w.outbox.FindOne(w.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&in); err != nil {
		w.Fatalf("read the intent %v: %v", id, err)
	}
	return in
}

// expect checks how an intent ended and how many effects it had.
func (w *world) expect(effects tally, id, outcome string, count int) {
	w.Helper()
	in := w.get(id)
	if in.outcome() != outcome || effects.of(id) != count {
		w.Errorf("%s is %s with %d effects, want %s with %d; last error %+v", id, in.outcome(), effects.of(id), outcome, count, in.LastError)
	}
}

// count counts the intents that fit.
func (w *world) count(filter bson.D) int {
	w.Helper()
	n, err := w.outbox.CountDocuments(w.Context(), filter)
	if err != nil {
		w.Fatalf("count intents: %v", err)
	}
	return int(n)
}

// settled waits until the intent is in a final state.
func (w *world) settled(id any) intent {
	w.Helper()
	var in intent
	eventually(w, "an intent is settled", func() bool {
		in = intent{} // what an earlier look read is not there any more
		err := w.outbox.FindOne(w.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&in)
		if err != nil && !errors.Is(err, mongo.ErrNoDocuments) && !errors.Is(err, context.Canceled) {
			w.Fatal(err)
		}
		return err == nil && (in.Status == "done" || in.Status == "dead" || in.Status == "cancelled")
	})
	return in
}

func charge(id string) bson.M {
	return bson.M{"_id": id, "kind": "charge", "status": "pending", "due_at": time.Now(),
		"payload": bson.M{"amount": int32(1999), "currency": "eur", "customer": "cus_" + id, "payment_method": "pm_card_visa"}}
}

func email(id string) bson.M {
	return bson.M{"_id": id, "kind": "email", "status": "pending", "due_at": time.Now(),
		"payload": bson.M{"from": "shop@example.com", "to": id + "@example.org", "subject": "Hello", "text": "Hello, " + id}}
}

func sms(id string) bson.M {
	return bson.M{"_id": id, "kind": "sms", "status": "pending", "due_at": time.Now(),
		"payload": bson.M{"from": "+15550100", "to": phone(id), "body": "Your code for " + id}}
}
