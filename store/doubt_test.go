package store_test

import (
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// What has expired and may have had its effect is left to its lane, which asks the provider first. What surely had none
// is taken, whatever its kind.
func TestWhatExpiredInDoubtIsLeftToItsLane(t *testing.T) {
	h := newHarness(t)
	past, later := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	h.Insert(h.intent("plain", map[string]any{"expires_at": past, "due_at": later}))
	h.Insert(h.intent("doubtful", map[string]any{"expires_at": past, "due_at": later, "ambiguous_at": past, "first_attempt_at": past, "attempts": int64(1)}))
	h.Insert(h.intent("reconciled", map[string]any{"expires_at": past, "due_at": later, "ambiguous_at": past, "first_attempt_at": past, "attempts": int64(1), "on_ambiguous": "reconcile"}))
	for name, doubts := range map[string]map[string]outbox.Ambiguity{"no kind that decides": nil, "a kind that asks": {"sms": outbox.Reconcile}} {
		intents, err := h.store.ClaimToSettle(t.Context(), outbox.ClaimOrder{Limit: 10, Lease: time.Minute, Owner: "w", Doubts: doubts})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range intents {
			if id := in.ID.String(); id != "plain" {
				t.Errorf("%s: %s was taken, though it may have had its effect", name, id)
			}
		}
		if h.Get("plain")["status"] != "leased" {
			t.Errorf("%s: what surely had no effect was not taken", name)
		}
	}
}
