package store_test

import (
	"maps"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// One array in one document makes an index multikey for as long as it exists, and then the server takes neither an
// order nor both ends of a range from it. Claims must cost what they cost before, and find the same.
func TestArraysDoNotSlowClaims(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	now := h.store.Now().Add(-time.Minute)
	h.crowd(300)
	h.insertMany("due, first", 100, map[string]any{"priority": int64(0)})
	h.insertMany("due", 100, map[string]any{"priority": int64(2)})
	h.insertMany("expired", 20, map[string]any{"expires_at": now, "due_at": h.store.Now().Add(time.Hour)})
	arrays := map[string]map[string]any{
		"dates": {"due_at": []any{now, now.Add(time.Second)}}, "priorities": {"priority": []any{int64(0), int64(2)}}, "decimal": {"priority": bson.NewDecimal128(3476778912330022912, 1)},
		"kinds": {"kind": []any{"fax", "sms"}}, "expiries": {"expires_at": []any{now, now}},
	}
	for id, more := range arrays {
		doc := h.intent(id, nil)
		maps.Copy(doc, more)
		if _, err := h.outbox().InsertOne(t.Context(), doc, options.InsertOne().SetBypassDocumentValidation(true)); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 20
	if _, err := h.store.Oldest(t.Context()); err != nil {
		t.Errorf("Oldest: %v", err)
	}
	h.commands.take()
	for range 3 {
		claimed := h.claim(limit)
		if len(claimed) != limit {
			t.Fatalf("claimed %d, want %d", len(claimed), limit)
		}
		for i, in := range claimed {
			if i > 0 && len(in.Problems)+len(claimed[i-1].Problems) == 0 && in.Priority < claimed[i-1].Priority {
				t.Errorf("a claim gave priority %d after %d", in.Priority, claimed[i-1].Priority)
			}
		}
		for _, search := range h.commands.take()[:2] {
			p := h.explain(search)
			p.wantIndex(t, "a claim's search", "claim", false)
			if p.keys > 2*limit+8 {
				t.Errorf("a claim's search for %d looked at %d keys", limit, p.keys)
			}
		}
	}
	expired, err := h.store.ClaimToSettle(t.Context(), outbox.ClaimOrder{Limit: limit, Lease: time.Minute, Owner: "w"})
	if err != nil || len(expired) != limit {
		t.Errorf("ClaimToSettle: %d, %v", len(expired), err)
	}
	if p := h.explain(h.commands.take()[1]); p.keys > 2*limit {
		t.Errorf("the search for what expired looked at %d keys for %d", p.keys, limit)
	} else {
		p.wantIndex(t, "the search for what expired", "expires", false)
	}
	found := make(map[string]bool)
	for claimed := h.claim(limit); len(claimed) > 0; claimed = h.claim(limit) {
		for _, in := range claimed {
			found[in.ID.String()] = len(in.Problems) > 0
		}
	}
	for id := range arrays {
		if h.Get(id)["status"] == "leased" || found[id] {
			continue
		}
		t.Errorf("%s was not claimed with its problems", id)
	}
}
