package store_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// ago returns an instant of the past as the database keeps it.
func ago(d time.Duration) time.Time { return time.Now().UTC().Add(-d).Truncate(time.Millisecond) }

func (h *harness) census(kinds ...string) outbox.Census {
	h.t.Helper()
	if _, err := h.db.Collection("outbox_meta").UpdateOne(h.t.Context(), bson.D{{Key: "_id", Value: "census"}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "until", Value: time.Unix(0, 0)}}}}); err != nil { // as if its time were over
		h.t.Fatal(err)
	}
	if taken, err := h.store.TakeCensus(h.t.Context(), "w1", kinds); err != nil || taken.At.IsZero() {
		h.t.Fatalf("taken %+v, %v", taken, err)
	}
	c, err := h.store.Census(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	if c.Cut {
		h.t.Errorf("time ran out after %v: %+v", c.Took, c)
	}
	return c
}

func TestCensus(t *testing.T) {
	h := newHarness(t)
	if c, err := h.store.Census(t.Context()); err != nil || !c.At.IsZero() {
		t.Errorf("before the first one: %+v, %v", c, err)
	}
	minute, hour, day := ago(time.Minute), ago(time.Hour), ago(24*time.Hour)
	later := time.Now().UTC().Add(time.Hour).Truncate(time.Millisecond)
	add := func(id string, fields map[string]any) { h.Insert(h.intent(id, fields)) }
	failure := map[string]any{"class": "transient", "code": "unavailable"}
	add("due", map[string]any{"due_at": minute})
	add("due-first", map[string]any{"due_at": ago(time.Second), "priority": int64(0)})
	add("scheduled", map[string]any{"due_at": later})
	// Held, or between two attempts: its due_at has moved, its wait has not ended.
	add("put-off", map[string]any{"due_at": later, "first_due_at": hour, "last_error": failure, "first_attempt_at": hour})
	// A person began its wait anew.
	add("retried", map[string]any{"due_at": later, "first_due_at": day, "last_error": failure, "first_attempt_at": day,
		"retried": map[string]any{"at": minute, "n": int64(1)}})
	add("doubted", map[string]any{"due_at": later, "first_due_at": minute, "first_attempt_at": minute, "ambiguous_at": minute, "last_error": failure})
	dead := func(id, kind, reason string, fields map[string]any) {
		doc := h.intent(id, map[string]any{"kind": kind, "status": "dead", "dead_at": minute, "dead_reason": reason, "first_attempt_at": minute})
		delete(doc, "due_at")
		maps.Copy(doc, fields)
		h.Insert(doc)
	}
	dead("parked", "fax", "ambiguous", map[string]any{"ambiguous_at": minute})
	dead("no", "fax", "permanent", nil)
	waits := h.intent("unwritten", map[string]any{"kind": "email", "due_at": later, "first_attempt_at": minute,
		"outcome": map[string]any{"event": "delivered", "at": minute, "receipt": map[string]any{"id": "x"}}})
	h.Insert(waits)
	if _, err := h.outbox().InsertOne(t.Context(), bson.D{{Key: "_id", Value: "stranger"}}); err == nil {
		t.Log("the validator lets strangers in")
	}

	if _, err := h.store.Heartbeat(t.Context(), outbox.Worker{Name: "w1", Kinds: []string{"sms"}}); err != nil {
		t.Fatal(err)
	}
	c := h.census("charge", "sms")
	if c.By != "w1" || time.Since(c.At) > time.Minute || len(c.Kinds) != 4 {
		t.Errorf("census %+v", c)
	}
	sms := c.Of("sms")
	if sms.Due.N != 2 || sms.Scheduled.N != 4 || sms.Waiting.N != 6 || sms.InDoubt.N != 1 || sms.Workers != 1 || !c.Waits() {
		t.Errorf("sms %+v", sms)
	}
	for what, got := range map[string][2]time.Time{
		"oldest due": {sms.OldestDue, minute}, "oldest unfinished": {sms.OldestUnfinished, hour}, "oldest in doubt": {sms.OldestInDoubt, minute},
	} {
		if !got[0].Equal(got[1]) {
			t.Errorf("%s: %v, want %v", what, got[0], got[1])
		}
	}
	if fax := c.Of("fax"); fax.AmbiguousDead.N != 1 || fax.Waiting.N != 0 || !fax.OldestUnfinished.IsZero() {
		t.Errorf("fax %+v", fax)
	}
	if email := c.Of("email"); email.Unwritten.N != 1 || email.OldestUnwritten.Sub(minute).Abs() > time.Second {
		t.Errorf("email %+v, want one unwritten since %v", email, minute)
	}
	if charge := c.Of("charge"); charge != (outbox.KindCensus{Kind: "charge"}) {
		t.Errorf("charge %+v", charge)
	}
}

// Of many workers one takes the census, and each figure stops at its bound.
func TestCensusIsTakenOnce(t *testing.T) {
	h := newHarness(t)
	docs := make([]any, outbox.CensusCap+500)
	for i := range docs {
		docs[i] = store.Encode(h.intent(fmt.Sprint("many", i), map[string]any{"due_at": ago(time.Minute)}))
	}
	if _, err := h.outbox().InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	times := 0
	for i := range 8 {
		all.Go(func() {
			taken, err := h.store.TakeCensus(t.Context(), fmt.Sprint("w", i), []string{"sms"})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !taken.At.IsZero() {
				times++
			}
		})
	}
	all.Wait()
	if times != 1 {
		t.Errorf("taken %d times, want once", times)
	}
	c, err := h.store.Census(t.Context())
	if want := (outbox.Count{N: outbox.CensusCap, Capped: true}); err != nil || c.Of("sms").Due != want || c.Of("sms").Waiting != want {
		t.Errorf("census %+v, %v", c, err)
	}
}

// What could not be read keeps the figures of the census before, and the census says so.
func TestACensusWithoutAnIndexIsCut(t *testing.T) {
	h := newHarness(t)
	h.Insert(h.intent("due", map[string]any{"due_at": ago(time.Minute)}))
	before := h.census("sms")
	if err := h.outbox().Indexes().DropOne(t.Context(), "claim"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Collection("outbox_meta").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "census"}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "until", Value: time.Unix(0, 0)}}}}); err != nil {
		t.Fatal(err)
	}
	if taken, err := h.store.TakeCensus(t.Context(), "w2", []string{"sms"}); err == nil || taken.At.IsZero() {
		t.Fatalf("taken %+v, %v", taken, err)
	}
	c, err := h.store.Census(t.Context())
	if err != nil || !c.Cut || c.Of("sms").Due != before.Of("sms").Due || c.Of("sms").OldestDue != before.Of("sms").OldestDue {
		t.Errorf("census %+v, %v; before %+v", c, err, before)
	}
}
