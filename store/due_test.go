package store_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
	"github.com/outboxd/outboxd/store/storetest"
)

// Everything due is claimed, once, in a bounded number of claims: whatever its priority and type of due_at, whenever it
// is inserted, beside what is locked, not due, of another kind or of no kind, and however many claim at once.
//
// The bound is in rounds of one claim by each claimer at the same time. Where all choose the same, they take as many in
// a round as one claim asks for. So what n intents need is n/limit rounds, and a few for leases that ran out and locks.
func TestEverythingDueIsClaimed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			everythingDue(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func everythingDue(t *testing.T, r *rand.Rand) {
	const limit, few = 20, 15
	h := newHarness(t)
	want, made := make(map[string]bool), 0
	add := func(n int, due bool, more func() map[string]any) {
		docs := make([]bson.D, n)
		for i := range docs {
			id := fmt.Sprint("i", made)
			made++
			fields := map[string]any{"due_at": h.store.Now().Add(-time.Duration(1 + r.Int64N(int64(1)<<(20+r.IntN(25)))))}
			if p := r.IntN(6); p < 5 {
				fields["priority"] = []any{int64(0), int64(1), int64(2), int64(3), 2.0}[p]
			}
			if more != nil {
				maps.Copy(fields, more())
			}
			docs[i] = store.Encode(h.intent(id, fields))
			if due {
				want[id] = true
			}
		}
		if _, err := h.outbox().InsertMany(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
	}
	lapsed := func() map[string]any {
		return map[string]any{"status": "leased", "attempts": int64(1),
			"lease": map[string]any{"token": "x", "owner": "dead", "at": h.store.Now().Add(-time.Hour), "reclaimed": false}}
	}
	h.run(bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationLevel", Value: "off"}})
	h.changed = true
	add(150, true, nil)
	add(20, true, lapsed)
	add(20, true, func() map[string]any { return map[string]any{"due_at": time.Time{}} })
	add(100, false, func() map[string]any { return map[string]any{"due_at": h.store.Now().Add(time.Hour)} })
	add(50, false, func() map[string]any { return map[string]any{"kind": "email"} })
	add(50, false, func() map[string]any { return map[string]any{"status": "queued"} }) // a sweep's
	var held []string
	for id := range want {
		if held = append(held, id); len(held) == 3 {
			break
		}
	}
	var release []func()
	for _, id := range held {
		release = append(release, h.HoldIntent(id))
	}

	claimers := make([]*store.Store, 4)
	for i := range claimers { // two processes with two claims under way each
		if claimers[i] = store.New(h.db, "", store.Options{Rules: storetest.Rules(), Retention: storetest.Retention, Patience: time.Second}); i%2 == 1 {
			claimers[i] = claimers[i-1]
		}
	}
	var mu sync.Mutex
	got := make(map[string]int)
	round := func(soon bool) {
		var all sync.WaitGroup
		for i, s := range claimers {
			order := outbox.ClaimOrder{Kind: "sms", Limit: limit, Lease: time.Hour, Owner: fmt.Sprint("w", i), Spread: 1 + r.IntN(2), Soon: soon}
			all.Go(func() {
				claimed, err := s.Claim(t.Context(), order)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, in := range claimed {
					got[in.ID.String()]++
				}
			})
		}
		all.Wait()
	}
	for range 3 {
		round(true)
	}
	add(60, true, nil) // some of which come to stand before everything else
	rounds := 0
	for bound := len(want)/limit + few; rounds < bound && len(got) < len(want)-len(held); rounds++ {
		round(false)
	}
	t.Logf("%d intents were claimed in %d rounds", len(got), rounds+3)
	for id := range want {
		if n := got[id]; n != 1 && !slices.Contains(held, id) {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	for id := range got {
		if !want[id] || slices.Contains(held, id) {
			t.Errorf("%s was claimed, which is not due or held: %v", id, h.Get(id))
		}
	}
	for _, let := range release {
		let()
	}
	next := store.New(h.db, "", store.Options{Rules: storetest.Rules(), Retention: storetest.Retention, Patience: time.Second})
	claimed, err := next.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: limit, Lease: time.Hour, Owner: "next"})
	if err != nil || len(claimed) != len(held) {
		t.Errorf("another worker claimed %d of the %d that were held, %v", len(claimed), len(held), err)
	}
}
