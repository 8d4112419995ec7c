package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// faults are what can become of a command on its way. Each leaves nobody but the database knowing whether it was done.
func faults() map[string][]bson.E {
	return map[string][]bson.E{
		"connection closed before": {{Key: "closeConnection", Value: true}},
		"primary stepped down":     {{Key: "errorCode", Value: 189}},
		"not confirmed (but done)": {{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}}},
		"interrupted (but done)":   {{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 11602}, {Key: "errmsg", Value: "interrupted"}}}},
		"out of time":              {{Key: "errorCode", Value: 50}},
	}
}

func TestClaimRecovers(t *testing.T) {
	h := newHarness(t)
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.insertMany(name, 5, nil)
			h.fail(1, []string{"update"}, fault...)
			claimed := h.claim(10)
			if len(claimed) != 5 {
				t.Fatalf("claimed %d of 5", len(claimed))
			}
			for _, in := range claimed {
				if in.Attempts != 1 || in.Lease.Reclaimed || in.Lease.Token != claimed[0].Lease.Token {
					t.Errorf("claimed %+v after %d attempts", in.Lease, in.Attempts)
				}
			}
			h.settle(done(claimed))
		})
	}
}

// Where even the repetition fails, what was claimed is not handed out; and what was not is claimed by the next.
func TestClaimFails(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 5, nil)
	h.fail(2, []string{"update"}, bson.E{Key: "errorCode", Value: 189})
	claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w"})
	if err == nil || len(claimed) != 0 {
		t.Errorf("claimed %d, %v", len(claimed), err)
	}
	if claimed := h.claim(10); len(claimed) != 5 || claimed[0].Lease.Reclaimed {
		t.Errorf("the next claim got %d, want all 5 as new", len(claimed))
	}
}

func TestSettleRecovers(t *testing.T) {
	for _, with := range []string{"", "consequences"} {
		h := newHarness(t)
		for name, fault := range faults() {
			t.Run(with+" "+name, func(t *testing.T) {
				h.t = t
				more := map[string]any{}
				commands := []string{"update"}
				if with != "" {
					more["on_done"] = []any{map[string]any{"kind": "email", "payload": map[string]any{"from": "a@b.c", "to": "d@e.f", "subject": "s", "text": "${_id}"}}}
					commands = []string{"commitTransaction"}
				}
				h.insertMany(name, 4, more)
				batch := done(h.claim(10))
				retry := outbox.Verdict{Event: outbox.Failed, Failure: &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeConflict}}
				batch[1].Decision = outbox.Decide(batch[1].Intent, retry, policy, time.Now())
				batch[2].Decision = outbox.Decide(batch[2].Intent, outbox.Verdict{Event: outbox.Unsent}, policy, time.Now())
				batch[2].Decision.Delay = time.Hour

				h.fail(1, commands, fault...)
				answers, err := h.store.Settle(t.Context(), batch)
				for tries := 0; err != nil && tries < 5; tries++ {
					answers, err = h.store.Settle(t.Context(), batch)
				}
				if err != nil {
					t.Fatalf("Settle, repeated: %v", err)
				}
				for i, answer := range answers {
					if answer.Lost {
						t.Errorf("settlement %d is answered as lost", i)
					}
				}
				for i, want := range []string{"done", "pending", "pending", "done"} {
					if doc := h.Get(batch[i].Intent.ID); doc["status"] != want || doc["lease"] != nil {
						t.Errorf("%v, want %s", doc, want)
					}
				}
				for i, want := range []int{1, 1, 0, 1} {
					if history, _ := h.Get(batch[i].Intent.ID)["history"].([]any); len(history) != want {
						t.Errorf("history of %d has %d entries, want %d", i, len(history), want)
					}
				}
				h.clear()
			})
		}
	}
}

func TestSaveProgressRecovers(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	in := h.claim(1)[0]
	h.fail(1, []string{"update"}, bson.E{Key: "closeConnection", Value: true})
	if err := h.store.SaveProgress(t.Context(), in, outbox.Progress{"x": "y"}); err != nil {
		t.Errorf("SaveProgress: %v", err)
	}
}

// clear removes all intents.
func (h *harness) clear() {
	h.t.Helper()
	if _, err := h.outbox().DeleteMany(h.t.Context(), bson.D{}); err != nil {
		h.t.Fatal(err)
	}
}

// custom inserts and claims n intents of a kind whose payload is free, with a follow-up and a write_back each.
func (h *harness) custom(n int, writeBack map[string]any) []*outbox.Intent {
	h.t.Helper()
	for i := range n {
		back := map[string]any{"collection": "orders", "id": fmt.Sprint("o", i), "done": map[string]any{"state": "paid"}}
		maps.Copy(back, writeBack)
		h.Insert(h.intent(fmt.Sprint("a", i), map[string]any{"write_back": back, "metadata": map[string]any{"tenant": "t"},
			"on_done": []any{map[string]any{"kind": "email", "payload": map[string]any{"from": "a@b.c", "to": "d@e.f", "subject": "s", "text": "t"}}}}))
	}
	return h.claim(n)
}

// wantParents checks that all parents are done with their follow-ups, and which have the code in last_error.
func (h *harness) wantParents(n int, code string, noted func(i int) bool) {
	h.t.Helper()
	for i := range n {
		doc := h.Get(fmt.Sprint("a", i))
		last, _ := doc["last_error"].(map[string]any)
		if doc["status"] != "done" || (last["code"] == code) != noted(i) {
			h.t.Errorf("a%d is %v, want done, with %s: %v", i, doc, code, noted(i))
		}
		if code != outbox.CodeFollowUpRefused && h.Get(fmt.Sprint("a", i, ":done:0")) == nil {
			h.t.Errorf("the follow-up of a%d is not there", i)
		}
	}
}

// What the business database refuses costs the note, never the outcome, and nothing of the other intents.
func TestWriteBackRefused(t *testing.T) {
	t.Parallel()
	second := func(i int) bool { return i == 1 }
	for name, c := range map[string]struct {
		before func(*harness)
		back   map[string]any
		noted  func(int) bool
	}{
		"by a validator": {before: func(h *harness) {
			h.run(bson.D{{Key: "collMod", Value: "orders"}, {Key: "validator", Value: bson.D{{Key: "$nor", Value: bson.A{bson.D{{Key: "n", Value: 1}, {Key: "state", Value: "paid"}}}}}}})
		}, noted: second},
		"by a unique index": {before: func(h *harness) {
			if _, err := h.db.Collection("orders").Indexes().CreateOne(h.t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "state", Value: 1}}, Options: options.Index().SetUnique(true).SetPartialFilterExpression(bson.D{{Key: "state", Value: "paid"}})}); err != nil {
				h.t.Fatal(err)
			}
		}, noted: func(i int) bool { return i > 0 }},
		"by its path":     {back: map[string]any{"done": map[string]any{"n.x": "y"}}, noted: func(int) bool { return true }},
		"by itself":       {back: map[string]any{"done": map[string]any{"a": "x", "a.b": "y"}}, noted: func(int) bool { return true }},
		"by a missing id": {back: map[string]any{"id": "o1"}, noted: func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			for i := range 3 {
				h.InsertBusiness("orders", map[string]any{"_id": fmt.Sprint("o", i), "n": int64(i)})
			}
			if c.before != nil {
				c.before(h)
			}
			h.settle(done(h.custom(3, c.back)))
			h.wantParents(3, outbox.CodeWriteBackMissed, c.noted)
		})
	}
}

// A document as an _id has an order of its fields that the intent's document keeps and our reading of it does not.
func TestWriteBackToOrderedID(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	id := bson.D{{Key: "tenant", Value: "t"}, {Key: "no", Value: int32(1)}, {Key: "line", Value: int32(2)}}
	if _, err := h.db.Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}}); err != nil {
		t.Fatal(err)
	}
	h.settle(done(h.custom(1, map[string]any{"id": map[string]any{"line": int64(2), "no": int64(1), "tenant": "${metadata.tenant}"}})))
	h.wantParents(1, outbox.CodeWriteBackMissed, func(int) bool { return false })
	if n, err := h.db.Collection("orders").CountDocuments(t.Context(), bson.D{{Key: "state", Value: "paid"}}); err != nil || n != 1 {
		t.Errorf("%d orders are paid, %v", n, err)
	}
}

// Follow-ups that cannot be inserted at all leave their parent settled.
func TestFollowUpsImpossible(t *testing.T) {
	h := newHarness(t)
	for i := range 3 {
		h.InsertBusiness("orders", map[string]any{"_id": fmt.Sprint("o", i)})
	}
	intents := h.custom(3, nil)
	h.fail(1000, []string{"insert"}, bson.E{Key: "errorCode", Value: 10334}) // BSONObjectTooLarge
	notes := h.settle(done(intents))
	h.disarm()
	h.wantParents(3, outbox.CodeFollowUpRefused, func(int) bool { return true })
	for i, n := range notes {
		if len(n) == 0 {
			t.Errorf("settlement %d has no note", i)
		}
	}
}

func (h *harness) disarm() {
	h.t.Helper()
	admin := h.db.Client().Database("admin")
	if err := admin.RunCommand(h.t.Context(), bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: "off"}}).Err(); err != nil {
		h.t.Fatal(err)
	}
}

// While the database is away a settle is an error, and nothing is given up.
func TestSettleWaitsForTheDatabase(t *testing.T) {
	h := newHarness(t)
	for i := range 2 {
		h.InsertBusiness("orders", map[string]any{"_id": fmt.Sprint("o", i)})
	}
	batch := done(h.custom(2, nil))
	h.fail(1000, []string{"aggregate"}, bson.E{Key: "closeConnection", Value: true})
	_, err := h.store.Settle(t.Context(), batch)
	h.disarm()
	if err == nil {
		t.Error("Settle answered although no transaction got through")
	}
	h.settle(batch)
	h.wantParents(2, outbox.CodeFollowUpRefused, func(int) bool { return false })
	if !slices.ContainsFunc(h.All(), func(doc map[string]any) bool { return doc["_id"] == "a1:done:0" }) {
		t.Error("the follow-up is not there")
	}
}

// A user who may not go past the validator works all the same.
func TestWithoutBypass(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 2, nil)
	h.fail(1, []string{"update"}, bson.E{Key: "errorCode", Value: 13})
	claimed := h.claim(10)
	if len(claimed) != 2 {
		t.Fatalf("claimed %d", len(claimed))
	}
	h.commands.take()
	h.settle(done(claimed))
	for _, c := range h.commands.take() {
		if _, err := c.body.LookupErr("bypassDocumentValidation"); err == nil {
			t.Error("it asks again to go past the validator")
		}
	}
}

// That holds wherever the store writes: by a transaction, which is made anew, and by a bulk write.
func TestWithoutBypassAnywhere(t *testing.T) {
	for name, write := range map[string]func(*harness) bool{
		"a transaction": func(h *harness) bool {
			h.orders(1)
			batch := done(h.custom(1, nil))
			h.fail(1, []string{"update"}, bson.E{Key: "errorCode", Value: 13})
			notes := h.settle(batch)
			return len(notes[0]) == 0 && h.Get("a0")["status"] == "done" && h.Get("a0:done:0") != nil && h.Business("orders", "o0")["state"] == "paid"
		},
		"a sweep": func(h *harness) bool {
			h.insertMany("odd", 3, map[string]any{"status": "odd"})
			h.fail(1, []string{"update"}, bson.E{Key: "errorCode", Value: 13})
			n, err := h.store.Sweep(h.t.Context())
			return n == 3 && err == nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			if !write(h) {
				t.Error("it was not done without going past the validator")
			}
			h.insertMany("next", 1, nil)
			h.commands.take()
			h.claim(10)
			for _, c := range h.commands.take() {
				if _, err := c.body.LookupErr("bypassDocumentValidation"); err == nil {
					t.Error("it asks again to go past the validator")
				}
			}
		})
	}
}

// No error of the store quotes a document, whatever the server says.
func TestErrorsQuoteNothing(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	for _, commands := range [][]string{{"find"}, {"update"}} {
		h.fail(2, commands, bson.E{Key: "errorCode", Value: 2})
		_, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w"})
		if err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("Claim: %v", err)
		}
		if strings.Contains(err.Error(), "failCommand") { // a word of the server's message
			t.Errorf("the error quotes the server: %v", err)
		}
		if server, ok := errors.AsType[mongo.ServerError](err); !ok || !server.HasErrorCode(2) {
			t.Errorf("the driver's error is not in %v", err)
		}
		h.disarm()
	}
}
