package store_test

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// What a batch writes to a document does not depend on what else is in the batch, though the command does.
func TestSettlesInABatchAsAlone(t *testing.T) {
	h := newHarness(t)
	failure := &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeConflict, Message: "it was not sent"}
	receipt := &outbox.Receipt{Provider: "twilio", ID: "SM1", Status: "queued"}
	decisions := map[string]outbox.Decision{
		"done":       {Status: outbox.StatusDone, Attempts: 1, Counted: true, Outcome: outbox.Done, Receipt: receipt, Ambiguous: outbox.ClearMark},
		"retry":      {Status: outbox.StatusPending, Attempts: 1, Counted: true, Outcome: outbox.Transient, Failure: failure, Delay: time.Hour},
		"given back": {Status: outbox.StatusPending, Attempts: 0, Delay: time.Hour},
		"marked":     {Status: outbox.StatusPending, Attempts: 1, Counted: true, Outcome: outbox.Ambiguous, Failure: failure, Ambiguous: outbox.SetMark, Delay: time.Hour},
		"dead":       {Status: outbox.StatusDead, Reason: outbox.ReasonPermanent, Attempts: 1, Counted: true, Outcome: outbox.Permanent, Failure: failure},
	}
	for round, earlier := range []map[string]any{nil, {
		"ambiguous_at": h.store.Now(), "first_attempt_at": h.store.Now(), "attempts": int64(0), "result": map[string]any{"id": "before"},
		"last_error": map[string]any{"code": "before"}, "history": []any{map[string]any{"attempt": int64(1), "outcome": "transient"}},
	}} {
		var batch []outbox.Settlement
		for name, d := range decisions {
			for _, how := range []string{"together", "alone"} {
				h.insertMany(fmt.Sprint(name, how, round, "."), 1, earlier)
				in := h.claim(1)[0]
				if settlement := (outbox.Settlement{Intent: in, Decision: d, Took: time.Second}); how == "alone" {
					h.settle([]outbox.Settlement{settlement})
				} else {
					batch = append(batch, settlement)
				}
			}
		}
		h.settle(batch)
		for name := range decisions {
			together, alone := h.Get(fmt.Sprint(name, "together", round, ".0")), h.Get(fmt.Sprint(name, "alone", round, ".0"))
			if together, alone = timeless(together), timeless(alone); !reflect.DeepEqual(together, alone) {
				t.Errorf("%s, settled together with others: %v\nalone: %v", name, together, alone)
			}
		}
	}
}

// timeless returns a document without its _id, and with true in the place of each instant.
func timeless(doc map[string]any) map[string]any {
	doc = maps.Clone(doc)
	delete(doc, "_id")
	for name, v := range doc {
		switch v := v.(type) {
		case time.Time:
			doc[name] = true
		case map[string]any:
			doc[name] = timeless(v)
		case []any:
			list := make([]any, len(v))
			for i, item := range v {
				if list[i] = item; reflect.TypeOf(item) == reflect.TypeFor[map[string]any]() {
					list[i] = timeless(item.(map[string]any))
				}
			}
			doc[name] = list
		}
	}
	return doc
}

func TestUpcoming(t *testing.T) {
	h := newHarness(t)
	now := h.store.Now()
	h.insertMany("soon", 1, map[string]any{"due_at": now.Add(5 * time.Second)})
	h.insertMany("sooner, with a priority", 1, map[string]any{"due_at": now.Add(3 * time.Second), "priority": int64(2)})
	h.insertMany("later", 1, map[string]any{"due_at": now.Add(time.Minute)})
	h.insertMany("other", 1, map[string]any{"due_at": now.Add(time.Second), "kind": "email"})
	h.commands.take()
	due, whole, err := h.store.Upcoming(t.Context(), "sms", 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	sent := h.commands.take()
	if len(due) != 2 || !whole || !due[0].Equal(now.Add(3*time.Second).Truncate(time.Millisecond)) || !due[1].Equal(now.Add(5*time.Second).Truncate(time.Millisecond)) {
		t.Errorf("due at %v (whole: %v), want what is due in 3s and in 5s", due, whole)
	}
	if last := sent[len(sent)-1]; len(sent) > 2 { // the first may have asked for the time
		t.Errorf("it sent %v", names(sent))
	} else {
		h.explain(last).wantIndex(t, "a look at what becomes due", "claim", true)
	}
	h.insertMany("many", 200, map[string]any{"due_at": now.Add(time.Second)})
	if due, whole, err = h.store.Upcoming(t.Context(), "sms", 20*time.Second); err != nil || whole || len(due) == 0 {
		t.Errorf("of two hundred it returned %d (whole: %v, %v)", len(due), whole, err)
	}
}

// Where others claim as well, a claim may begin further down, but never below what has less priority, nor where little
// waits.
func TestSpreadClaims(t *testing.T) {
	h := newHarness(t)
	claim := func(spread int) map[int64]int {
		t.Helper()
		claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w", Spread: spread})
		if err != nil || len(claimed) != 10 {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		h.settle(done(claimed))
		priorities := make(map[int64]int)
		for _, in := range claimed {
			priorities[int64(in.Priority)]++
		}
		return priorities
	}
	h.insertMany("urgent", 5, map[string]any{"priority": int64(0)})
	due := h.store.Now().Add(-time.Second)
	h.insertMany("a", 200, map[string]any{"due_at": due})
	if got := claim(4); got[0] != 5 {
		t.Errorf("a claim among others took %v by priority, want all of the first", got)
	}
	starts := make(map[string]bool)
	for range 40 {
		claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w", Spread: 4})
		if err != nil || len(claimed) != 10 {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		starts[claimed[0].ID.String()] = true
		for _, s := range done(claimed) { // back to where they were
			s.Decision = outbox.Decision{Status: outbox.StatusPending}
			h.settle([]outbox.Settlement{s})
			h.Change(s.Intent.ID, map[string]any{"due_at": due})
		}
	}
	if len(starts) < 4 || len(starts) > 16 {
		t.Errorf("forty claims among others began at %d places, want some of sixteen", len(starts))
	}
}
