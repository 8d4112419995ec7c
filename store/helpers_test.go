package store_test

import (
	"context"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
	"github.com/outboxd/outboxd/store/storetest"
)

// TestStore runs the conformance suite. A migrated database costs more than most of the tests, so that they share a few,
// which are emptied in between.
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
	changed  bool // the database is not as the migration left it
}

func newHarness(t testing.TB) *harness {
	h := &harness{t: t, commands: &commands{}}
	h.db = mongotest.Database(t, options.Client().SetMonitor(h.commands.monitor()))
	if _, err := migrations.New(h.db, "").Up(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	h.store = store.New(h.db, "", store.Options{Rules: storetest.Rules(), Retention: storetest.Retention})
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
	mu   sync.Mutex
	sent []string
}

func (c *commands) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, e.CommandName)
	}}
}

// take returns the names of the commands sent since it was last called.
func (c *commands) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}
