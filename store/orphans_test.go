package store_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// A claim that was made but could not be read holds intents that nobody will send. The next claim gives them back as
// they were, long before the lease ends: nobody has to take them for ambiguous.
func TestClaimGivesBackWhatAnEarlierOneHolds(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 5, nil)
	order := outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w"}
	h.armed(bson.D{{Key: "skip", Value: 2}})                         // both searches for candidates pass, the claim is not read
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the driver repeats a read until its time is over
	defer cancel()
	if claimed, err := h.store.Claim(short, order); err == nil {
		t.Fatalf("claimed %d without reading them", len(claimed))
	}
	h.armed("off")
	var claimed []*outbox.Intent
	for range 2 {
		more, err := h.store.Claim(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		claimed = append(claimed, more...)
	}
	if len(claimed) != 5 {
		t.Fatalf("claimed %d of 5 once the database was read again", len(claimed))
	}
	for _, in := range claimed {
		if in.Attempts != 1 || in.Lease.Reclaimed || !in.AmbiguousAt.IsZero() || len(in.History) != 0 {
			t.Errorf("%s: attempt %d, reclaimed %v, history %v", in.ID, in.Attempts, in.Lease.Reclaimed, in.History)
		}
	}
}

// A claim that its store has looked for in vain can still come into effect: after a failover, or from a server that
// hung.
func TestClaimGivesBackWhatComesIntoEffectLate(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	var doc struct {
		ID any `bson:"_id"`
	}
	if err := h.outbox().FindOne(t.Context(), bson.D{}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Orphan(doc.ID, "late", time.Minute); err != nil {
		t.Fatal(err)
	}
	other := outbox.ClaimOrder{Kind: "email", Limit: 10, Lease: time.Minute, Owner: "w"}
	if claimed, err := h.store.Claim(t.Context(), other); err != nil || len(claimed) != 0 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	now := time.Now()
	late := bson.D{{Key: "$set", Value: bson.D{
		{Key: "status", Value: "leased"}, {Key: "attempts", Value: 1}, {Key: "due_at", Value: now.Add(time.Minute)}, {Key: "first_attempt_at", Value: now},
		{Key: "lease", Value: bson.D{{Key: "token", Value: "late"}, {Key: "owner", Value: "w"}, {Key: "at", Value: now}, {Key: "reclaimed", Value: false}}}}}}
	if _, err := h.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: doc.ID}}, late); err != nil {
		t.Fatal(err)
	}
	order := other
	order.Kind = "sms"
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		claimed, err := h.store.Claim(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		if len(claimed) == 1 {
			if in := claimed[0]; in.Attempts != 1 || in.Lease.Reclaimed || len(in.History) != 0 {
				t.Errorf("attempt %d, reclaimed %v, history %v", in.Attempts, in.Lease.Reclaimed, in.History)
			}
			return
		}
		<-tick.C
	}
	t.Error("it was not given back")
}

// A claim whose answer was lost is sent again. What the first try took is not taken once more, also if its lease has
// run out by then.
func TestRepeatedClaimDoesNotTakeTwice(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	h.fail(1, []string{"update"}, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}})
	claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Millisecond, Owner: "w"})
	if err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	if in := claimed[0]; in.Attempts != 1 || in.Lease.Reclaimed {
		t.Errorf("attempt %d, reclaimed %v", in.Attempts, in.Lease.Reclaimed)
	}
}

// The first try of a claim may come into effect when the second has long been settled: from a server that hung. So it
// has a token of its own, under which nobody can settle, and is given back.
func TestRepeatedClaimHasAnotherToken(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	h.fail(1, []string{"update"}, bson.E{Key: "errorCode", Value: 189})
	h.commands.take()
	claimed := h.claim(1)
	if len(claimed) != 1 {
		t.Fatalf("claimed %d", len(claimed))
	}
	var updates []bson.Raw
	for _, c := range h.commands.take() {
		if c.name == "update" {
			updates = append(updates, c.body.Lookup("updates", "0").Document())
		}
	}
	if len(updates) != 2 || bytes.Contains(updates[0], []byte(claimed[0].Lease.Token)) || !bytes.Contains(updates[1].Lookup("u").Value, []byte(claimed[0].Lease.Token)) {
		t.Fatalf("%d updates, and the token %s: %v", len(updates), claimed[0].Lease.Token, updates)
	}
	retry := outbox.Settlement{Intent: claimed[0], Decision: outbox.Decision{Status: outbox.StatusPending, Attempts: 1, Counted: true, Outcome: outbox.Transient}}
	if _, err := h.store.Settle(t.Context(), []outbox.Settlement{retry}); err != nil {
		t.Fatal(err)
	}
	var first struct {
		Filter bson.D   `bson:"q"`
		Update []bson.D `bson:"u"`
	}
	if err := bson.Unmarshal(updates[0], &first); err != nil {
		t.Fatal(err)
	}
	result, err := h.outbox().UpdateMany(t.Context(), first.Filter, first.Update)
	if err != nil || result.MatchedCount != 1 {
		t.Fatalf("the first try took %+v, %v", result, err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		if again := h.claim(1); len(again) == 1 {
			if in := again[0]; in.Lease.Reclaimed || in.Attempts != 2 {
				t.Errorf("attempt %d, reclaimed %v", in.Attempts, in.Lease.Reclaimed)
			}
			return
		}
		<-tick.C
	}
	t.Error("it was not given back")
}

// armed makes finds fail in the given mode.
func (h *harness) armed(mode any) {
	h.t.Helper()
	err := h.db.Client().Database("admin").RunCommand(h.t.Context(), bson.D{
		{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode},
		{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"find"}}, {Key: "appName", Value: h.app}, {Key: "errorCode", Value: 189}}},
	}).Err()
	if err != nil {
		h.t.Fatalf("arm a failpoint: %v", err)
	}
}
