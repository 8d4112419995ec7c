package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// deadLetters inserts n dead letters of four groups, many of them with equal instants, and returns their ids newest
// first.
func (h *harness) deadLetters(n int) []string {
	died := h.store.Now().Add(-time.Hour).Truncate(time.Second)
	var ids []string
	for i := range n {
		id := fmt.Sprintf("d-%03d", i)
		codes := map[string]any{"class": "permanent", "code": []string{"declined", "bad_recipient"}[i%2], "at": died}
		if i%4 > 1 {
			codes["provider_code"] = int64(21610)
		}
		h.Insert(h.intent(id, map[string]any{"status": "dead", "due_at": nil, "dead_reason": "permanent", "dead_at": died.Add(time.Duration(i/10) * time.Second),
			"attempts": int64(1), "first_attempt_at": died, "last_error": codes}))
		h.Change(id, map[string]any{"due_at": nil})
		ids = append(ids, id)
	}
	slices.Reverse(ids)
	return ids
}

// all follows a search from page to page.
func (h *harness) all(d *store.Desk, s outbox.Search) []string {
	h.t.Helper()
	var names []string
	for range 100 {
		page, err := d.Find(h.t.Context(), s)
		if err != nil {
			h.t.Fatalf("Find %+v: %v", s, err)
		}
		for _, in := range page.Items {
			names = append(names, in.Name)
		}
		if s.After = page.Next; s.After == "" {
			return names
		}
		if len(page.Items) != s.Limit {
			h.t.Errorf("a page that is not the last has %d rows", len(page.Items))
		}
	}
	h.t.Fatal("the pages have no end")
	return nil
}

func TestFindPages(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	d := h.store.Desk()
	dead := h.deadLetters(47)
	var waiting, done []string
	for i := range 23 {
		id := fmt.Sprintf("w-%03d", i)
		h.Insert(h.intent(id, map[string]any{"priority": int64(i / 8), "due_at": h.store.Now().Truncate(time.Second)}))
		waiting = append(waiting, id)
		id = fmt.Sprintf("x-%03d", i)
		h.Insert(h.intent(id, map[string]any{"status": "done", "done_at": h.store.Now(), "purge_at": h.store.Now().Add(time.Hour).Truncate(time.Hour)}))
		h.Change(id, map[string]any{"due_at": nil})
		done = append(done, id)
	}
	for _, limit := range []int{1, 5, 10, 50} {
		if got := h.all(d, outbox.Search{Stage: outbox.StageDead, Limit: limit}); !slices.Equal(got, dead) {
			t.Errorf("dead by %d: %v", limit, got)
		}
		if got := h.all(d, outbox.Search{Stage: outbox.StageDead, Kind: "sms", Reason: outbox.ReasonPermanent, Limit: limit}); !slices.Equal(got, dead) {
			t.Errorf("dead of a kind and reason by %d: %v", limit, got)
		}
		if got := h.all(d, outbox.Search{Stage: outbox.StageDead, Code: "declined", Limit: limit}); len(got) != 24 || got[0] != "d-046" || got[23] != "d-000" {
			t.Errorf("declined by %d: %v", limit, got)
		}
		if got := h.all(d, outbox.Search{Stage: outbox.StageWaiting, Kind: "sms", Limit: limit}); !slices.Equal(got, waiting) {
			t.Errorf("waiting by %d: %v", limit, got)
		}
		got := h.all(d, outbox.Search{Stage: outbox.StageDone, Limit: limit})
		slices.Sort(got)
		if !slices.Equal(got, done) {
			t.Errorf("done by %d: %v", limit, got)
		}
		if got := h.all(d, outbox.Search{ID: "w-00", Limit: limit}); !slices.Equal(got, waiting[:10]) {
			t.Errorf("by the beginning of an id, by %d: %v", limit, got)
		}
	}
	groups, err := d.Groups(t.Context(), "")
	if err != nil || len(groups) != 4 || groups[0].Kind != "sms" || groups[0].Count.N+groups[1].Count.N+groups[2].Count.N+groups[3].Count.N != 47 {
		t.Errorf("Groups: %+v, %v", groups, err)
	}
	if groups, err := d.Groups(t.Context(), "email"); err != nil || len(groups) != 0 {
		t.Errorf("Groups of a kind without dead letters: %+v, %v", groups, err)
	}
}

func TestFindRefusesWhatNoIndexServes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	d := h.store.Desk()
	for _, s := range []outbox.Search{
		{}, {Kind: "sms"}, {Metadata: map[string]string{"order": "o7"}}, {ProviderID: "SM1"}, {Stage: outbox.StageWaiting, Code: "declined"},
	} {
		if _, err := d.Find(t.Context(), s); !errors.As(err, new(*outbox.NotIndexed)) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	h.Insert(h.intent("a", map[string]any{"metadata": map[string]any{"order": "o7"}}))
	if _, err := h.outbox().Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "metadata.order", Value: 1}, {Key: "_id", Value: 1}}}); err != nil {
		t.Fatal(err)
	}
	if got := h.all(d, outbox.Search{Metadata: map[string]string{"order": "o7"}, Limit: 5}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("by metadata with an index: %v", got)
	}
	if _, err := d.Find(t.Context(), outbox.Search{Stage: outbox.StageDead, After: "nonsense"}); !errors.Is(err, store.ErrCursor) {
		t.Errorf("a forged cursor: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	d := h.store.Desk()
	h.deadLetters(1)
	in, err := d.Look(t.Context(), "d-000")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Discard(t.Context(), in, outbox.Hand{By: "ann", Why: "old", Job: "j"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Discard(t.Context(), in, outbox.Hand{By: "ann"}); !errors.Is(err, outbox.ErrChanged) {
		t.Errorf("discarded twice: %v", err)
	}
	after, err := d.Look(t.Context(), "d-000")
	if err != nil || after.Status != outbox.StatusCancelled || len(after.Problems) > 0 || !after.DoneBy("j") || after.Document["purge_at"] == nil {
		t.Errorf("discarded: %+v, %v", after.Intent, err)
	}
}
