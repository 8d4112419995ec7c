package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
)

// A worker that froze in the middle of a transaction leaves its documents locked. They must not keep others from what
// is due besides, and not slow down each claim either.
func TestClaimPassesWhatATransactionHolds(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("abandoned", 3, map[string]any{"status": "leased", "attempts": int64(1),
		"lease": map[string]any{"token": "x", "owner": "frozen", "at": h.store.Now().Add(-time.Minute), "reclaimed": false}})
	h.insertMany("fresh", 20, map[string]any{"due_at": h.store.Now()})

	session, err := h.db.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.EndSession(context.Background())
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	locked := mongo.NewSessionContext(t.Context(), session)
	if _, err := h.outbox().UpdateOne(locked, bson.D{{Key: "_id", Value: "abandoned1"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "metadata", Value: bson.D{{Key: "frozen", Value: "yes"}}}}}}); err != nil {
		t.Fatal(err)
	}

	var claimed []string
	take := func(within time.Duration) {
		t.Helper()
		began := time.Now()
		for _, in := range h.claim(10) {
			claimed = append(claimed, in.ID.String())
		}
		if took := time.Since(began); took > within {
			t.Errorf("a claim took %v beside what a transaction holds", took)
		}
	}
	take(4 * time.Second) // it learns what is locked
	take(time.Second)
	take(time.Second)
	for i := range 20 {
		if id := fmt.Sprint("fresh", i); !slices.Contains(claimed, id) {
			t.Errorf("%s was not claimed", id)
		}
	}
	if slices.Contains(claimed, "abandoned1") {
		t.Error("a document was claimed that a transaction holds")
	}

	if err := session.AbortTransaction(t.Context()); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !slices.Contains(claimed, "abandoned1"); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it was not claimed when the transaction had ended")
		}
		take(4 * time.Second)
	}
}

// A lease that ran out is taken over under another token than what was free is leased under: carried out late, the
// command that takes over would find the leases of its own claim, and one token would stand for two.
func TestTakingOverHasATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("abandoned", 2, map[string]any{"status": "leased", "attempts": int64(1),
		"lease": map[string]any{"token": "x", "owner": "dead", "at": h.store.Now().Add(-time.Minute), "reclaimed": false}})
	h.insertMany("fresh", 2, nil)
	tokens := make(map[string]bool)
	claimed := h.claim(10)
	for _, in := range claimed {
		tokens[fmt.Sprint(in.Lease.Reclaimed, in.Lease.Token)] = true
		tokens[in.Lease.Token] = true
	}
	if len(claimed) != 4 || len(tokens) != 4 {
		t.Fatalf("claimed %d under the tokens %v, want 4 under two", len(claimed), tokens)
	}
	h.settle(done(claimed))
}

// Two claims of one process at once do not choose the same intents: neither comes home with less for it.
func TestClaimsOfOneProcessDoNotMeet(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("a", 400, nil)
	var all sync.WaitGroup
	counts := make([]int, 4)
	for i := range counts {
		all.Go(func() {
			for range 5 {
				claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 20, Lease: time.Minute, Owner: "w", Soon: true})
				if err != nil || len(claimed) != 20 {
					t.Errorf("claimed %d of 20, %v", len(claimed), err)
				}
				counts[i] += len(claimed)
			}
		})
	}
	all.Wait()
	if total := counts[0] + counts[1] + counts[2] + counts[3]; total != 400 {
		t.Errorf("claimed %d of 400", total)
	}
}

// A busy worker's searches do not walk over what was claimed before, and one among others leaves the first to them
// without reading it.
func TestABusyWorkersSearches(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{"without a priority": {}, "of one priority": {"priority": int32(1)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			due := h.store.Now().Add(-time.Minute)
			fields["due_at"] = due
			h.insertMany("a", 400, fields)
			order := outbox.ClaimOrder{Kind: "sms", Limit: 4, Lease: time.Minute, Owner: "w", Soon: true}
			short, skipped, whole := false, false, 0
			for n := range 30 {
				if n > 4 {
					order.Spread = 4
				}
				h.commands.take()
				if claimed, err := h.store.Claim(t.Context(), order); err != nil || len(claimed) != 4 {
					t.Fatalf("claimed %d, %v", len(claimed), err)
				}
				for _, c := range h.commands.take() {
					from, ok := c.body.Lookup("min", "due_at").TimeOK()
					until, _ := c.body.Lookup("max", "due_at").TimeOK()
					switch skip, _ := c.body.Lookup("skip").AsInt64OK(); {
					case !ok || until.Before(due): // no search, or a look at what stands before the backlog
					case skip > 0:
						skipped = true
					case from.After(due.Add(-10 * time.Second)):
						short = true
					case c.body.Lookup("min", "priority").Type == bson.TypeInt32 || len(fields) == 1:
						whole++
					}
				}
			}
			if !short || whole > 1 {
				t.Errorf("%d searches began at the very front; others did not: %t", whole, short)
			}
			if !skipped {
				t.Error("no claim among others left the first intents to them")
			}
		})
	}
}

// What comes to stand in front of a backlog has its turn soon, although not every search begins there.
func TestWhatIsInsertedInFrontIsFound(t *testing.T) {
	t.Parallel()
	for _, priority := range []any{nil, int32(1)} {
		t.Run(fmt.Sprint(priority), func(t *testing.T) {
			t.Parallel()
			insertedInFront(t, priority)
		})
	}
}

func insertedInFront(t *testing.T, priority any) {
	h := newHarness(t)
	fields := map[string]any{}
	if priority != nil {
		fields["priority"] = priority
	}
	h.insertMany("a", 300, fields)
	order := outbox.ClaimOrder{Kind: "sms", Limit: 2, Lease: time.Minute, Owner: "w", Soon: true}
	claim := func() []*outbox.Intent {
		claimed, err := h.store.Claim(t.Context(), order)
		if err != nil || len(claimed) == 0 {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		return claimed
	}
	claim()
	fields["due_at"] = h.store.Now().Add(-time.Hour)
	h.insertMany("old", 1, fields)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for claim()[0].ID.String() != "old0" {
		<-tick.C
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was found after %v", took)
	}
}

// A claim that is told what to take makes one round trip for one intent, and takes nothing else.
func TestClaimOfNamedIntents(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("a", 5, nil)
	h.claim(1) // warms up
	h.commands.take()
	for _, want := range [][]string{{"a3"}, {"a1", "a2"}} {
		order := outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w"}
		for _, id := range want {
			order.Only = append(order.Only, outbox.NewStringID(id))
		}
		claimed, err := h.store.Claim(t.Context(), order)
		if err != nil || len(claimed) != len(want) {
			t.Fatalf("claimed %d of %v, %v", len(claimed), want, err)
		}
		sent := names(h.commands.take())
		if len(want) == 1 && !slices.Equal(sent, []string{"findAndModify"}) || slices.Contains(sent, "find") && sent[0] == "find" {
			t.Errorf("a claim of %v sent %v", want, sent)
		}
		if again, err := h.store.Claim(t.Context(), order); err != nil || len(again) != 0 {
			t.Errorf("claimed again: %d, %v", len(again), err)
		}
		h.commands.take()
	}
}
