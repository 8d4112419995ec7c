package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// What the provider refused runs at once when a person resumes the lane or a hold ends; nothing else does.
func TestHasten(t *testing.T) {
	for _, by := range []string{"resume", "hasten"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			soon := func(d time.Duration) time.Time { return h.store.Now().Add(d).Truncate(time.Millisecond) }
			refused := func(class string) map[string]any {
				return map[string]any{"class": class, "code": "unauthorized", "at": soon(-time.Second)}
			}
			h.insertMany("refused", 700, map[string]any{"due_at": soon(time.Minute), "last_error": refused("hold")})
			h.insertMany("first", 1, map[string]any{"due_at": soon(30 * time.Second), "priority": int64(0), "last_error": refused("hold")})
			due := soon(time.Minute)
			for name, more := range map[string]map[string]any{
				"backoff": {"due_at": due, "last_error": refused("transient")}, "later": {"due_at": due.Add(time.Hour), "last_error": refused("hold")},
				"fresh": {"due_at": due}, "leased": {"due_at": due, "status": "leased", "last_error": refused("hold")},
				"mail": {"due_at": due, "kind": "email", "last_error": refused("hold")},
			} {
				h.insertMany(name, 1, more)
			}
			var err error
			if by == "resume" {
				err = h.store.Resume(t.Context(), "sms")
			} else {
				err = h.store.Hasten(t.Context(), "sms")
			}
			h.must(err)
			n, err := h.outbox().CountDocuments(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$regex", Value: "^(refused|first)"}}},
				{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$due_at", "$$NOW"}}}}})
			h.must(err)
			if n != 701 {
				t.Errorf("%d intents are due, want the 701 that were refused", n)
			}
			for _, name := range []string{"backoff", "later", "fresh", "leased", "mail"} {
				if at := h.Get(name + "0")["due_at"].(time.Time); at.Before(due) {
					t.Errorf("%s is due at %v, want it left alone", name, at)
				}
			}
			if h.Get("leased0")["status"] != "leased" {
				t.Error("a leased intent was touched")
			}
		})
	}
}

// It reads what is due within the next minutes, however much is due after that.
func TestHastenReadsAFewEntries(t *testing.T) {
	h := newHarness(t)
	far := h.store.Now().Add(time.Hour)
	for i := range 4 {
		h.insertMany(fmt.Sprint("far", i, "-"), 500, map[string]any{"due_at": far, "priority": int64(i)})
	}
	h.insertMany("near", 3, map[string]any{"due_at": h.store.Now().Add(time.Minute), "last_error": map[string]any{"class": "hold"}})
	h.commands.take()
	h.must(h.store.Hasten(t.Context(), "sms"))
	sent := h.commands.take()
	at := slices.IndexFunc(sent, func(c command) bool { return c.name == "find" && bytesHave(c.body, "last_error.class") })
	if at < 0 {
		t.Fatalf("no search among %v", names(sent))
	}
	if p := h.explain(sent[at]); p.keys > 40 || !slices.Equal(p.index, []string{"claim"}) {
		t.Errorf("it read %d index entries of %v", p.keys, p.index)
	}
}

func bytesHave(body bson.Raw, key string) bool {
	_, err := body.LookupErr("filter", key)
	return err == nil
}
