package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
	"github.com/outboxd/outboxd/store/storetest"
)

// TestStore runs the conformance suite. A migrated database costs more than most of the tests, so that they share a
// few, which are emptied in between.
func TestStore(t *testing.T) {
	free := make(chan *harness, 100)
	storetest.Run(t, func(sub *testing.T) storetest.Harness {
		var h *harness
		select {
		case h = <-free:
		default:
			h = newHarness(t)
		}
		mine := *h
		mine.t = sub
		sub.Cleanup(func() {
			if mine.changed {
				return
			}
			for _, c := range []string{"outbox", storetest.Orders} {
				if _, err := h.db.Collection(c).DeleteMany(context.Background(), bson.D{}); err != nil {
					sub.Errorf("empty %s: %v", c, err)
				}
			}
			free <- h
		})
		return &mine
	})
}

// harness is a store on a migrated database of its own, and the suite's hand in its documents.
type harness struct {
	t        testing.TB
	db       *mongo.Database
	store    *store.Store
	commands *commands
	app      string // by which failpoints know the store's client
	changed  bool   // the database is not as the migration left it
}

func newHarness(t testing.TB) *harness {
	h := &harness{t: t, commands: &commands{}, app: "store-test-" + rand.Text()}
	h.db = mongotest.Database(t, options.Client().SetMonitor(h.commands.monitor()).SetAppName(h.app))
	if _, err := migrations.New(h.db, "").AnyKind().Up(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	h.store = store.New(h.db, "", store.Options{Rules: storetest.Rules(), Retention: storetest.Retention, Patience: time.Second}) // machines are slow
	return h
}

// patient makes the store wait as long as a slow machine takes, for tests that count commands.
func (h *harness) patient() *harness {
	h.store = store.New(h.db, "", store.Options{Rules: storetest.Rules(), Retention: storetest.Retention, Patience: time.Minute})
	return h
}

func (h *harness) outbox() *mongo.Collection { return h.db.Collection("outbox") }

func (h *harness) Store() storetest.Store { return h.store }

func (h *harness) Insert(doc map[string]any) {
	h.t.Helper()
	if _, err := h.outbox().InsertOne(h.t.Context(), store.Encode(doc), options.InsertOne().SetBypassDocumentValidation(true)); err != nil {
		h.t.Fatalf("insert: %v", err)
	}
}

func (h *harness) Get(id any) map[string]any {
	h.t.Helper()
	return h.one(h.outbox(), id)
}

func (h *harness) one(c *mongo.Collection, id any) map[string]any {
	h.t.Helper()
	docs := h.find(c, store.Encode(map[string]any{"_id": id}))
	if len(docs) == 0 {
		return nil
	}
	return docs[0]
}

func (h *harness) All() []map[string]any {
	h.t.Helper()
	return h.find(h.outbox(), bson.D{})
}

func (h *harness) find(c *mongo.Collection, filter any) []map[string]any {
	h.t.Helper()
	cursor, err := c.Find(h.t.Context(), filter)
	if err != nil {
		h.t.Fatalf("find: %v", err)
	}
	var raws []bson.Raw
	if err := cursor.All(h.t.Context(), &raws); err != nil {
		h.t.Fatalf("find: %v", err)
	}
	docs := make([]map[string]any, len(raws))
	for i, raw := range raws {
		if docs[i], err = store.Decode(raw); err != nil {
			h.t.Fatalf("decode: %v", err)
		}
	}
	return docs
}

func (h *harness) Change(id any, fields map[string]any) {
	h.t.Helper()
	set, unset := map[string]any{}, bson.D{}
	for name, value := range fields {
		if value == nil {
			unset = append(unset, bson.E{Key: name, Value: ""})
		} else {
			set[name] = value
		}
	}
	var update bson.D
	if len(set) > 0 {
		update = append(update, bson.E{Key: "$set", Value: store.Encode(set)})
	}
	if len(unset) > 0 {
		update = append(update, bson.E{Key: "$unset", Value: unset})
	}
	result, err := h.outbox().UpdateOne(h.t.Context(), store.Encode(map[string]any{"_id": id}), update, options.UpdateOne().SetBypassDocumentValidation(true))
	if err != nil || result.MatchedCount != 1 {
		h.t.Fatalf("change %v: %v, %v", id, result, err)
	}
}

func (h *harness) InsertBusiness(collection string, doc map[string]any) {
	h.t.Helper()
	if _, err := h.db.Collection(collection).InsertOne(h.t.Context(), store.Encode(doc)); err != nil {
		h.t.Fatalf("insert into %s: %v", collection, err)
	}
}

func (h *harness) Business(collection string, id any) map[string]any {
	h.t.Helper()
	return h.one(h.db.Collection(collection), id)
}

func (h *harness) Hold(collection string, id any) (release func()) {
	h.t.Helper()
	session, err := h.db.Client().StartSession()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := session.StartTransaction(); err != nil {
		h.t.Fatal(err)
	}
	result, err := h.db.Collection(collection).UpdateOne(mongo.NewSessionContext(h.t.Context(), session), store.Encode(map[string]any{"_id": id}),
		bson.D{{Key: "$set", Value: bson.D{{Key: "held", Value: true}}}}, options.UpdateOne().SetBypassDocumentValidation(true))
	if err != nil || result.MatchedCount != 1 {
		h.t.Fatalf("hold %v: %v, %v", id, result, err)
	}
	return func() {
		if err := session.AbortTransaction(context.Background()); err != nil {
			h.t.Errorf("let go of %v: %v", id, err)
		}
		session.EndSession(context.Background())
	}
}

func (h *harness) HoldIntent(id any) (release func()) {
	h.t.Helper()
	return h.Hold("outbox", id)
}

func (h *harness) RefuseKind(kind string) {
	h.t.Helper()
	h.changed = true
	h.run(bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "kind", Value: bson.D{{Key: "$ne", Value: kind}}}}}})
}

// run runs a command on the test's database.
func (h *harness) run(command bson.D) bson.Raw {
	h.t.Helper()
	raw, err := h.db.RunCommand(h.t.Context(), command).Raw()
	if err != nil {
		h.t.Fatalf("%s: %v", command[0].Key, err)
	}
	return raw
}

// commands records what a client sends.
type commands struct {
	mu      sync.Mutex
	sent    []command
	largest int  // bytes of one command
	drops   bool // nothing else is kept
}

type command struct {
	name string
	body bson.Raw
}

func (c *commands) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "explain" { // a test's own
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.largest = max(c.largest, len(e.Command)); c.drops {
			return
		}
		c.sent = append(c.sent, command{e.CommandName, bytes.Clone(e.Command)})
	}}
}

// take returns the commands sent since it was last called.
func (c *commands) take() []command {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

func names(sent []command) []string {
	list := make([]string, len(sent))
	for i, c := range sent {
		list[i] = c.name
	}
	return list
}

// intent returns the smallest valid intent, due a second ago, with the given fields.
func (h *harness) intent(id any, more map[string]any) map[string]any {
	doc := map[string]any{
		"_id": id, "kind": "sms", "status": "pending", "due_at": h.store.Now().Add(-time.Second),
		"payload": map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "Your code is 4711"},
	}
	maps.Copy(doc, more)
	return doc
}

// insertMany inserts n intents with the ids "<prefix>0" and so on.
func (h *harness) insertMany(prefix string, n int, more map[string]any) {
	h.t.Helper()
	docs := make([]bson.D, n)
	for i := range docs {
		docs[i] = store.Encode(h.intent(fmt.Sprint(prefix, i), more))
	}
	if _, err := h.outbox().InsertMany(h.t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		h.t.Fatalf("insert: %v", err)
	}
}

// claim claims up to n intents of kind sms.
func (h *harness) claim(n int) []*outbox.Intent {
	h.t.Helper()
	claimed, err := h.store.Claim(h.t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: n, Lease: time.Minute, Owner: "worker-1"})
	if err != nil {
		h.t.Fatalf("Claim: %v", err)
	}
	return claimed
}

// done makes the settlements that say that all intents were delivered.
func done(intents []*outbox.Intent) []outbox.Settlement {
	batch := make([]outbox.Settlement, len(intents))
	for i, in := range intents {
		verdict := outbox.Verdict{Event: outbox.Delivered, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM" + in.ID.String(), Status: "queued"}}
		batch[i] = outbox.Settlement{Intent: in, Decision: outbox.Decide(in, verdict, policy, time.Now()), Took: time.Second}
	}
	return batch
}

var policy = outbox.Policy{
	Retry:       outbox.RetryPolicy{MaxAttempts: 5, Base: time.Second, Max: time.Minute},
	OnAmbiguous: outbox.Park,
	Reconcile:   outbox.ReconcilePolicy{Interval: time.Second},
}

// settle settles a batch, none of which may be lost, and returns the notes.
func (h *harness) settle(batch []outbox.Settlement) [][]outbox.Note {
	h.t.Helper()
	answers, err := h.store.Settle(h.t.Context(), batch)
	if err != nil {
		h.t.Fatalf("Settle: %v", err)
	}
	notes := make([][]outbox.Note, len(answers))
	for i, a := range answers {
		if a.Lost {
			h.t.Fatalf("settlement %d is lost", i)
		}
		notes[i] = a.Notes
	}
	return notes
}

// fail arms a failpoint that concerns the store's client alone; data are its further fields.
//
// The server has one such failpoint: tests that arm it are not parallel, so that they run while nothing else does.
func (h *harness) fail(times int, commands []string, data ...bson.E) {
	h.t.Helper()
	d := append(bson.D{{Key: "failCommands", Value: commands}, {Key: "appName", Value: h.app}}, data...)
	admin := h.db.Client().Database("admin")
	if err := admin.RunCommand(h.t.Context(), bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: bson.D{{Key: "times", Value: times}}}, {Key: "data", Value: d}}).Err(); err != nil {
		h.t.Fatalf("arm a failpoint: %v", err)
	}
}
