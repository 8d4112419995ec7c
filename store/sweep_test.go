package store_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

func TestSweep(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	now := h.store.Now().Truncate(time.Millisecond)
	follow := []any{map[string]any{"kind": "sms", "payload": map[string]any{"to": "+4915112345678", "from": "x", "body": "b"}}}
	bad := map[string]map[string]any{ // what no claim can see, and what its last_error names
		"due_at":   {"due_at": "soon"},
		"due_at ":  {"due_at": nil},
		"due_at  ": {"due_at": []any{now}, "on_dead": follow},
		"priority": {"priority": int64(7)},
		"kind":     {"kind": int64(5)},
		"kind ":    {"kind": ""},
		"status":   {"status": "pendingg"},
		"status ":  {"status": int64(1)},
		"due_at l": {"due_at": "x", "status": "leased", "attempts": int64(3), "first_attempt_at": now,
			"lease": map[string]any{"token": "old", "owner": "w", "at": now, "reclaimed": false}},
	}
	for name, more := range bad {
		h.Insert(h.intent(name, more))
	}
	// What has no kind is somebody else's.
	foreign := map[string]map[string]any{
		"foreign":        nil,
		"foreign status": {"status": "queued"},
		"foreign due":    {"due_at": "soon", "topic": "order.created"},
		"foreign null":   {"kind": outbox.Unsupported{}, "priority": int64(9)},
		"foreign lease":  {"status": "leased", "due_at": now.Add(-time.Hour)},
		"foreign ended":  {"status": "cancelled"},
	}
	for name, more := range foreign {
		h.Insert(h.intent(name, more))
		if _, kept := more["kind"]; !kept {
			h.Change(name, map[string]any{"kind": nil})
		}
		foreign[name] = h.Get(name)
	}
	h.Insert(h.intent(int64(9), map[string]any{"due_at": "x"}))
	h.Insert(h.intent("cancelled", map[string]any{"status": "cancelled", "kept": "x"}))
	h.Insert(h.intent("cancelled well", map[string]any{"status": "cancelled", "purge_at": now}))
	h.Change("cancelled well", map[string]any{"due_at": nil})
	h.Insert(h.intent("cancelled without", map[string]any{"status": "cancelled"}))
	h.Change("cancelled without", map[string]any{"due_at": nil})
	h.Insert(h.intent("dead", map[string]any{"status": "dead", "dead_at": now, "dead_reason": "permanent", "last_error": map[string]any{"code": "declined"}}))
	h.insertMany("good", 5, nil)
	h.insertMany("good, leased", 5, map[string]any{"kind": "x", "status": "leased", "due_at": now.Add(time.Hour)})

	n, err := h.store.Sweep(t.Context())
	if err != nil || n != len(bad)+4 {
		t.Errorf("Sweep: %d, %v, want %d", n, err, len(bad)+4)
	}
	for name, want := range map[string]time.Duration{"cancelled": 168 * time.Hour, "cancelled without": 168 * time.Hour, "cancelled well": 0} {
		purge, _ := h.Get(name)["purge_at"].(time.Time)
		if off := purge.Sub(now.Add(want)); off < 0 || off > time.Minute {
			t.Errorf("%s: purge_at %v, want %v from now", name, purge, want)
		}
	}
	for name := range bad {
		doc := h.Get(name)
		last, _ := doc["last_error"].(map[string]any)
		message, _ := last["message"].(string)
		if doc["status"] != "dead" || doc["dead_reason"] != "invalid" || doc["due_at"] != nil || doc["lease"] != nil || doc["dead_at"] == nil ||
			last["code"] != "invalid" || !strings.HasPrefix(message, strings.Fields(name)[0]) {
			t.Errorf("%s: %v", name, doc)
		}
	}
	if doc := h.Get("due_at l"); doc["ambiguous_at"] == nil || doc["attempts"] != int64(3) {
		t.Errorf("nobody knows what the holder of a lease did: %v", doc)
	}
	if doc := h.Get("due_at"); doc["ambiguous_at"] != nil {
		t.Errorf("it was never claimed: %v", doc)
	}
	if h.Get("due_at  :dead:0") == nil {
		t.Error("its follow-up is not there")
	}
	if doc := h.Get(int64(9)); doc["status"] != "dead" {
		t.Errorf("an _id of another type: %v", doc)
	}
	for name, was := range foreign {
		if doc := h.Get(name); !reflect.DeepEqual(doc, was) {
			t.Errorf("%s: %v, was %v", name, doc, was)
		}
	}
	if n, err := h.store.Foreign(t.Context()); err != nil || n != int64(len(foreign)) {
		t.Errorf("%d documents are foreign, %v; want %d", n, err, len(foreign))
	}
	if doc := h.Get("cancelled"); doc["status"] != "cancelled" || doc["due_at"] != nil || doc["kept"] != "x" || doc["last_error"] != nil {
		t.Errorf("cancelled: %v", doc)
	}
	if doc := h.Get("dead"); doc["dead_reason"] != "permanent" || doc["due_at"] != nil || doc["last_error"].(map[string]any)["code"] != "declined" {
		t.Errorf("dead: %v", doc)
	}
	if again, err := h.store.Sweep(t.Context()); err != nil || again != 0 {
		t.Errorf("a second sweep: %d, %v", again, err)
	}
	claimed := h.claim(50)
	for late := time.Now().Add(5 * time.Second); len(claimed) < 6 && time.Now().Before(late); {
		claimed = append(claimed, h.claim(50)...) // the follow-up is due at the instant of the sweep, which an estimate may see a moment later
	}
	if len(claimed) != 6 { // the good ones and the follow-up
		t.Errorf("%d intents can be claimed, want 6", len(claimed))
	}
}

// A sweep works in batches, and goes on to the end.
func TestSweepMany(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("odd", 250, map[string]any{"priority": 1.5})
	if n, err := h.store.Sweep(t.Context()); err != nil || n != 250 {
		t.Errorf("Sweep: %d, %v, want 250", n, err)
	}
	left, err := h.outbox().CountDocuments(t.Context(), bson.D{{Key: "status", Value: bson.D{{Key: "$ne", Value: outbox.StatusDead}}}})
	if err != nil || left != 0 {
		t.Errorf("%d are left, %v", left, err)
	}
}
