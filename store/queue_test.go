package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

func TestRemaining(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	now := h.store.Now()
	h.insertMany("due", 3, nil)
	h.insertMany("soon", 2, map[string]any{"due_at": now.Add(time.Minute), "priority": int64(0)})
	h.insertMany("later", 4, map[string]any{"due_at": now.Add(time.Hour)})
	h.insertMany("leased", 1, map[string]any{"due_at": now.Add(time.Minute), "status": "leased"})
	h.insertMany("ran out", 1, map[string]any{"status": "leased"})
	h.insertMany("email", 1, map[string]any{"kind": "email", "due_at": now.Add(time.Hour)})
	h.insertMany("other", 1, map[string]any{"kind": "other"})
	got, err := h.store.Remaining(t.Context(), []string{"email", "sms", "charge"}, map[string]time.Duration{"email": 10 * time.Minute, "sms": 10 * time.Minute})
	want := []store.Remaining{{Kind: "email", Later: 1}, {Kind: "sms", Due: 3, Leased: 2, Soon: 2, Later: 4}, {Kind: "charge"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Remaining: %+v, %v, want %+v", got, err, want)
	}
	if !got[0].Empty() || got[1].Empty() || !got[2].Empty() {
		t.Error("empty is what has nothing due, leased or due soon")
	}
	if got, err := h.store.Remaining(t.Context(), []string{"sms"}, nil); err != nil || got[0].Soon != 0 || got[0].Later != 6 {
		t.Errorf("Remaining within nothing: %+v, %v", got, err)
	}
	if got, err := h.store.Remaining(t.Context(), nil, nil); err != nil || len(got) != 0 {
		t.Errorf("Remaining of no kind: %+v, %v", got, err)
	}
}

func TestOldest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	if ages, err := h.store.Oldest(t.Context()); err != nil || len(ages) != 0 {
		t.Errorf("Oldest of nothing: %v, %v", ages, err)
	}
	now := h.store.Now()
	ago := func(d time.Duration) map[string]any { return map[string]any{"due_at": now.Add(-d)} }
	with := func(doc map[string]any, name string, value any) map[string]any { doc[name] = value; return doc }
	h.insertMany("a", 100, ago(time.Minute))
	h.insertMany("b", 100, with(ago(time.Hour), "priority", int64(3)))
	h.insertMany("c", 100, with(ago(2*time.Minute), "priority", int64(0)))
	h.insertMany("d", 1, with(ago(time.Minute), "kind", "email"))
	h.insertMany("e", 1, with(ago(-time.Minute), "kind", "later"))
	h.insertMany("f", 1, with(ago(time.Minute), "kind", int64(5)))
	h.commands.take()
	ages, err := h.store.Oldest(t.Context())
	if err != nil || len(ages) != 2 || (ages["sms"]-time.Hour).Abs() > 20*time.Second || (ages["email"]-time.Minute).Abs() > 20*time.Second {
		t.Errorf("Oldest: %v, %v", ages, err)
	}
	for _, c := range h.commands.take() {
		p := h.explain(c)
		p.wantIndex(t, "the search for the oldest", "claim", true)
		if p.keys > 3 {
			t.Errorf("the search for the oldest looked at %d keys", p.keys)
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	now := h.store.Now()
	h.insertMany("a", 3, map[string]any{"due_at": now.Add(-time.Hour)})
	h.insertMany("b", 2, map[string]any{"due_at": now.Add(time.Hour)})
	h.insertMany("c", 1, map[string]any{"status": "leased", "due_at": now.Add(-2 * time.Hour)})
	for status, n := range map[string]int{"done": 4, "dead": 5, "cancelled": 6, "odd": 1} {
		h.insertMany(status, n, map[string]any{"status": status, "due_at": "x"})
	}
	h.insertMany("d", 1, map[string]any{"kind": int64(7)})
	h.insertMany("e", 1, map[string]any{"kind": "charge"})
	stats, err := h.store.Stats(t.Context())
	if err != nil {
		t.Fatalf("Stats: %v", err)
	}
	for i := range stats {
		if age := stats[i].OldestDue; stats[i].Kind == "sms" && (age-2*time.Hour).Abs() > 20*time.Second {
			t.Errorf("the oldest has waited %v", age)
		}
		stats[i].OldestDue = 0
	}
	want := []store.KindStats{{Kind: "", Pending: 1, Due: 1}, {Kind: "charge", Pending: 1, Due: 1}, {Kind: "sms", Pending: 5, Due: 4, Leased: 1, Done: 4, Dead: 5, Cancelled: 6, Other: 1}}
	if !slices.Equal(stats, want) {
		t.Errorf("Stats: %+v, want %+v", stats, want)
	}
}

func TestDead(t *testing.T) {
	h := newHarness(t)
	now := h.store.Now().Truncate(time.Millisecond)
	dead := func(id, kind, reason, code string, age time.Duration) {
		h.Insert(h.intent(id, map[string]any{"kind": kind, "status": "dead", "dead_reason": reason, "dead_at": now.Add(-age), "last_error": map[string]any{"code": code}}))
		h.Change(id, map[string]any{"due_at": nil})
	}
	dead("1", "sms", "permanent", "rejected", time.Second)
	dead("3", "email", "ambiguous", "no_answer", time.Hour)
	dead("2", "sms", "ambiguous", "no_answer", time.Minute)
	dead("4", "sms", "permanent", "opted_out", 2*time.Hour)
	h.insertMany("alive", 3, nil)
	list := func(f store.Filter) []string {
		t.Helper()
		ids := []string{}
		for raw, err := range h.store.Dead(t.Context(), f) {
			if err != nil {
				t.Fatalf("Dead: %v", err)
			}
			in, err := h.store.Intent(raw)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, in.ID.String())
		}
		return ids
	}
	for _, c := range []struct {
		filter store.Filter
		want   []string
	}{
		{store.Filter{}, []string{"1", "2", "3", "4"}},
		{store.Filter{Limit: 2}, []string{"1", "2"}},
		{store.Filter{Kind: "sms"}, []string{"1", "2", "4"}},
		{store.Filter{Reason: outbox.ReasonAmbiguous}, []string{"2", "3"}},
		{store.Filter{Code: "no_answer", Kind: "email"}, []string{"3"}},
		{store.Filter{Since: now.Add(-2 * time.Minute)}, []string{"1", "2"}},
		{store.Filter{Code: "no such"}, []string{}},
	} {
		if got := list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v lists %v, want %v", c.filter, got, c.want)
		}
	}
	h.commands.take()
	for range h.store.Dead(t.Context(), store.Filter{Limit: 1}) {
		break
	}
	h.explain(h.commands.take()[0]).wantIndex(t, "the list of dead letters", "dead", false)
	h.fail(2, []string{"find"}, bson.E{Key: "errorCode", Value: 1})
	for _, err := range h.store.Dead(t.Context(), store.Filter{}) {
		if err == nil {
			t.Error("a broken list looks like an empty one")
		}
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	oid, uuid := outbox.NewObjectID([12]byte{1}), outbox.NewUUID([16]byte{2})
	for _, id := range []any{"plain", oid, uuid} {
		h.Insert(h.intent(id, nil))
	}
	for text, want := range map[string]outbox.ID{"plain": outbox.NewStringID("plain"), oid.String(): oid, uuid.String(): uuid} {
		raw, err := h.store.Get(t.Context(), text)
		if err != nil {
			t.Errorf("Get(%q): %v", text, err)
			continue
		}
		if in, err := h.store.Intent(raw); err != nil || in.ID != want {
			t.Errorf("Get(%q) is %v, %v", text, in.ID, err)
		}
	}
	if _, err := h.store.Get(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of nothing: %v", err)
	}
	h.Insert(h.intent(oid.String(), nil))
	if _, err := h.store.Get(t.Context(), oid.String()); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of two: %v", err)
	}
}

// What hops from kind to kind, as a follow-up does, is there once at every instant.
func TestRemainingIsOfOneInstant(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	kinds := []string{"charge", "email", "sms"}
	for _, kind := range kinds {
		h.insertMany("later-"+kind, 4000, map[string]any{"kind": kind, "due_at": h.store.Now().Add(time.Hour)})
	}
	h.insertMany("hops", 1, nil)
	bypass := options.UpdateOne().SetBypassDocumentValidation(true)
	stop, hopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				hopped <- nil
				return
			default:
			}
			if _, err := h.outbox().UpdateByID(context.WithoutCancel(t.Context()), "hops0", bson.D{{Key: "$set", Value: bson.D{{Key: "kind", Value: kinds[i%len(kinds)]}}}}, bypass); err != nil {
				hopped <- err
				return
			}
		}
	}()
	for range 100 {
		left, err := h.store.Remaining(t.Context(), kinds, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := left[0].Due + left[1].Due + left[2].Due; n != 1 {
			t.Errorf("%d are due, want the one that hops", n)
			break
		}
	}
	close(stop)
	h.must(<-hopped)
}
