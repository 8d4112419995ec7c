package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func claimTests() []test {
	return []test{
		{"claim leases what is due", claimLeases},
		{"claim leaves alone what is not its own", claimLeavesAlone},
		{"claim goes by priority, then by due_at", claimOrder},
		{"claim takes at most its limit", claimLimit},
		{"claim takes what it is told to", claimNamed},
		{"claim takes every type of _id", claimIDs},
		{"claim hands out what breaks the contract", claimMalformed},
		{"claim counts on from attempts that are no number", claimOddAttempts},
		{"claim replaces what stands in lease", claimOddLease},
		{"claim takes what a lease left behind", claimReclaims},
		{"claims at one time are disjoint", claimDisjoint},
		{"expired intents are claimed whenever they are due", claimExpired},
		{"expired intents of one kind", claimExpiredKind},
		{"an expired intent whose lease ran out is claimed where nothing has to be asked", claimExpiredLease},
		{"a lease on a pending intent counts as one that ran out", claimUnlocked},
		{"claim keeps the due_at that the producer wrote", claimKeepsFirstDue},
		{"now follows the database", nowFollows},
	}
}

func claimLeases(e *env) {
	in := e.insertAndClaim("a", fields{"kept": "as it is", "metadata": map[string]any{"order": "1"}})
	if in.ID != outbox.NewStringID("a") || in.Kind != kind || len(in.Problems) > 0 || in.Attempts != 1 || in.Metadata["order"] != "1" {
		// "kept" is no field of the contract, so it is the one problem that there is.
		if len(in.Problems) != 1 || in.Problems[0].Path != "kept" {
			e.Errorf("claimed %+v", in)
		}
	}
	doc := e.get("a")
	e.want(doc, fields{"status": "leased", "attempts": int64(1), "kept": "as it is"})
	e.wantSoon(doc, "due_at", lease)
	e.wantSoon(doc, "first_attempt_at", 0)
	if in.Lease.Token == "" || in.Lease.Owner != owner || in.Lease.Reclaimed || !in.Lease.At.Add(lease).Equal(in.DueAt) || !in.FirstAttemptAt.Equal(in.Lease.At) {
		e.Errorf("claimed under the lease %+v until %v", in.Lease, in.DueAt)
	}
	if again := e.claim(10); len(again) != 0 {
		e.Errorf("claimed again while leased: %v", ids(again))
	}
	e.insert("$$b", nil)
	if in := e.claimAs("$owner", 1)[0]; in.Lease.Owner != "$owner" || in.Lease.Token == "" {
		e.Errorf("the lease is %+v, want the owner $owner, literally", in.Lease)
	}
}

func claimLeavesAlone(e *env) {
	e.insert("later", fields{"due_at": e.s.Now().Add(time.Hour)})
	e.insert("other kind", fields{"kind": outbox.KindEmail})
	e.insert("cancelled", fields{"status": "cancelled", "due_at": nil})
	e.insert("leased", nil)
	e.claim(1)
	if claimed := e.claim(10); len(claimed) != 0 {
		e.Errorf("claimed %v", ids(claimed))
	}
	if claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: "no such kind", Limit: 1, Lease: lease, Owner: owner}); err != nil || len(claimed) != 0 {
		e.Errorf("Claim of an unknown kind: %v, %v", ids(claimed), err)
	}
}

func claimOrder(e *env) {
	due := e.ago(0)
	at := func() time.Time { due = due.Add(-time.Second); return due } // each is due before the one above it
	e.insert("8", fields{"priority": int64(3), "due_at": at()})
	e.insert("7", fields{"priority": 2.0, "due_at": at()})
	e.insert("6", fields{"due_at": at()})
	e.insert("5", fields{"priority": int64(1), "due_at": at()})
	e.insert("4", fields{"due_at": at()})
	e.insert("3", fields{"priority": int64(1), "due_at": at()})
	e.insert("2", fields{"priority": int64(0), "due_at": due.Add(5 * time.Second)})
	e.insert("1", fields{"priority": int64(0), "due_at": due.Add(4 * time.Second)})
	e.insert("9", fields{"priority": int64(3), "due_at": due.Add(6 * time.Second)})
	want := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}
	if got := ids(e.claim(20)); !slices.Equal(got, want) {
		e.Errorf("claimed in the order %v, want %v", got, want)
	}
}

// claimNamed takes what it is told to, if that is due and of the kind.
func claimNamed(e *env) {
	e.insert("a", nil)
	e.insert("b", nil)
	e.insert("c", nil)
	e.insert("later", fields{"due_at": e.s.Now().Add(time.Hour)})
	e.insert("other kind", fields{"kind": outbox.KindEmail})
	e.insert(outbox.NewObjectID([12]byte{1, 2, 3}), nil)
	for _, tt := range []struct{ only, want []outbox.ID }{
		{[]outbox.ID{outbox.NewStringID("b")}, []outbox.ID{outbox.NewStringID("b")}},
		{[]outbox.ID{outbox.NewStringID("b")}, nil}, // it is leased
		{[]outbox.ID{outbox.NewStringID("later")}, nil},
		{[]outbox.ID{outbox.NewStringID("other kind")}, nil},
		{[]outbox.ID{outbox.NewStringID("missing"), outbox.NewStringID("a")}, []outbox.ID{outbox.NewStringID("a")}},
		{[]outbox.ID{outbox.NewObjectID([12]byte{1, 2, 3})}, []outbox.ID{outbox.NewObjectID([12]byte{1, 2, 3})}},
	} {
		claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: kind, Limit: 10, Lease: lease, Owner: owner, Only: tt.only})
		if err != nil {
			e.Fatalf("Claim: %v", err)
		}
		var got []outbox.ID
		for _, in := range claimed {
			got = append(got, in.ID)
			if in.Lease.Token == "" || in.Attempts != 1 {
				e.Errorf("%s was claimed under the lease %+v as attempt %d", in.ID, in.Lease, in.Attempts)
			}
		}
		if !slices.Equal(got, tt.want) {
			e.Errorf("told to take %v, it took %v, want %v", tt.only, got, tt.want)
		}
	}
	if got := ids(e.claim(10)); !slices.Equal(got, []string{"c"}) {
		e.Errorf("left were %v, want c", got)
	}
}

func claimLimit(e *env) {
	for n := range 10 {
		e.insert(fmt.Sprint(n), fields{"due_at": e.ago(time.Duration(10-n) * time.Second)})
	}
	for _, want := range [][]string{{"0", "1", "2", "3"}, {"4", "5", "6", "7"}, {"8", "9"}, {}} {
		if got := ids(e.claim(4)); !slices.Equal(got, want) {
			e.Errorf("claimed %v, want %v", got, want)
		}
	}
}

// oddIDs are identities of every type, and such as look like something else.
func oddIDs() []any {
	return []any{
		"plain", "$status", "$$ROOT", "a.b", "ünï", outbox.NewObjectID([12]byte{1, 2, 3}), outbox.NewUUID([16]byte{4, 5, 6}),
		outbox.NewObjectID([12]byte{1, 2, 3}).String(), int64(7), 7.5, true,
	}
}

func claimIDs(e *env) {
	for _, id := range oddIDs() {
		e.insert(id, nil)
	}
	claimed := e.claim(50)
	if len(claimed) != len(oddIDs()) {
		e.Errorf("claimed %d intents, want %d", len(claimed), len(oddIDs()))
	}
	var batch []outbox.Settlement
	for _, in := range claimed {
		if len(in.Problems) > 0 {
			batch = append(batch, e.decide(in, outbox.Verdict{Event: outbox.Malformed}))
		} else {
			if err := e.s.SaveProgress(e.ctx(), in, outbox.Progress{"step": "one"}); err != nil {
				e.Errorf("SaveProgress of %v: %v", in.ID, err)
			}
			batch = append(batch, e.decide(in, delivered()))
		}
	}
	e.settled(batch...)
	for _, id := range oddIDs() {
		switch id.(type) {
		case string, outbox.ID:
			e.want(e.get(id), fields{"status": "done", "progress": map[string]any{"step": "one"}})
		default:
			e.want(e.get(id), fields{"status": "dead", "dead_reason": "invalid"})
		}
	}
}

func claimMalformed(e *env) {
	for name, more := range map[string]fields{
		"payload":  {"payload": "none"},
		"unknown":  {"kept": true},
		"history":  {"history": "long"},
		"progress": {"progress": []any{"x"}},
		"zero due": {"due_at": time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), "kept": true}, // Go's empty time
	} {
		e.insert(name, more)
	}
	claimed := e.claim(10)
	if len(claimed) != 5 {
		e.Errorf("claimed %v, want all five", ids(claimed))
	}
	for _, in := range claimed {
		if len(in.Problems) == 0 {
			e.Errorf("%v has no problems", in.ID)
		}
		e.settled(e.decide(in, outbox.Verdict{Event: outbox.Malformed}))
		doc := e.get(in.ID)
		e.want(doc, fields{"status": "dead", "dead_reason": "invalid", "due_at": nil, "lease": nil})
		if message, _ := doc["last_error"].(map[string]any)["message"].(string); message == "" {
			e.Errorf("%v: last_error says nothing: %v", in.ID, doc["last_error"])
		}
	}
}

func claimOddAttempts(e *env) {
	for name, odd := range map[string]any{"text": "many", "double": 2.0, "null": outbox.Unsupported{}} {
		e.insert(name, fields{"attempts": odd})
	}
	want := map[string]int{"text": 1, "double": 3, "null": 1}
	claimed := e.claim(10)
	if len(claimed) != len(want) {
		e.Errorf("claimed %v, want all", ids(claimed))
	}
	for _, in := range claimed {
		if in.Attempts != want[in.ID.String()] || len(in.Problems) > 0 {
			e.Errorf("%v has %d attempts, want %d; problems %v", in.ID, in.Attempts, want[in.ID.String()], in.Problems)
		}
		e.settled(e.decide(in, delivered()))
	}
}

func claimOddLease(e *env) {
	for name, odd := range map[string]any{
		"array":   []any{map[string]any{"token": "x"}},
		"text":    "x",
		"another": map[string]any{"token": "x", "owner": "me", "more": "x"},
	} {
		e.insert(name, fields{"lease": odd})
	}
	claimed := e.claim(10)
	if len(claimed) != 3 {
		e.Fatalf("claimed %v, want all three", ids(claimed))
	}
	for _, in := range claimed {
		if len(in.Problems) > 0 {
			e.Errorf("%v: %v", in.ID, in.Problems)
		}
		e.settled(e.decide(in, delivered()))
	}
}

func claimReclaims(e *env) {
	first := e.insertAndClaim("a", nil)
	e.lapse("a")
	second := e.claimOne()
	if !second.Lease.Reclaimed || second.Attempts != 2 || second.Lease.Token == first.Lease.Token || !second.FirstAttemptAt.Equal(first.FirstAttemptAt) {
		e.Errorf("claimed %+v after %+v", second.Lease, first.Lease)
	}
	e.settled(e.decide(second, unsent()))
	e.lapse("a")
	if third := e.claimOne(); third.Lease.Reclaimed {
		e.Error("an intent that was given back counts as one whose lease ran out")
	}
}

func claimDisjoint(e *env) {
	const intents, workers = 200, 16
	for n := range intents {
		e.insert(fmt.Sprint(n), fields{"due_at": e.ago(time.Duration(n) * time.Millisecond)})
	}
	var (
		mu    sync.Mutex
		taken = make(map[string]string)
		group sync.WaitGroup
	)
	for w := range workers {
		group.Go(func() {
			name := fmt.Sprint("worker-", w)
			for empty := 0; empty < 3; {
				claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: kind, Limit: 10, Lease: lease, Owner: name})
				if err != nil {
					e.Errorf("Claim: %v", err)
					return
				}
				if len(claimed) == 0 {
					empty++
				}
				mu.Lock()
				for _, in := range claimed {
					if other := taken[in.ID.String()]; other != "" {
						e.Errorf("%v was claimed by %s and by %s", in.ID, other, name)
					}
					taken[in.ID.String()] = name
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for claimed := e.claim(intents); len(claimed) > 0; claimed = e.claim(intents) { // what all lost to each other
		for _, in := range claimed {
			taken[in.ID.String()] = owner
		}
	}
	for _, doc := range e.h.All() {
		if by := doc["lease"].(map[string]any)["owner"]; by != taken[doc["_id"].(string)] {
			e.Errorf("%v is leased by %v, and was handed to %q", doc["_id"], by, taken[doc["_id"].(string)])
		}
	}
}

func claimExpired(e *env) {
	e.insert("2 later", fields{"expires_at": e.ago(time.Second), "due_at": e.s.Now().Add(time.Hour)})
	e.insert("1 due", fields{"expires_at": e.ago(time.Minute), "kind": outbox.KindEmail, "payload": map[string]any{"from": "a@b.c", "to": "d@e.f", "subject": "s", "text": "t"}})
	e.insert("3 any priority", fields{"expires_at": e.ago(0), "priority": int64(3)})
	e.insert("ambiguous", fields{"expires_at": e.ago(time.Hour), "ambiguous_at": e.ago(time.Hour), "attempts": int64(1), "first_attempt_at": e.ago(time.Hour)})
	e.insert("not yet", fields{"expires_at": e.s.Now().Add(time.Hour)})
	e.insert("never", nil)
	e.insert("cancelled", fields{"expires_at": e.ago(time.Second), "status": "cancelled", "due_at": nil})
	e.insert("leased", fields{"expires_at": e.ago(time.Hour), "kind": "leased"})
	if claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: "leased", Limit: 1, Lease: lease, Owner: owner}); err != nil || len(claimed) != 1 {
		e.Fatalf("Claim: %v, %v", claimed, err)
	}

	order := outbox.ClaimOrder{Limit: 10, Lease: lease, Owner: owner}
	claimed, err := e.s.ClaimToSettle(e.ctx(), order)
	if err != nil {
		e.Fatalf("ClaimToSettle: %v", err)
	}
	if want := []string{"1 due", "2 later", "3 any priority"}; !slices.Equal(ids(claimed), want) {
		e.Errorf("claimed %v, want %v", ids(claimed), want)
	}
	for _, in := range claimed {
		e.settled(e.decide(in, outbox.Verdict{Event: outbox.Lapsed}))
		e.want(e.get(in.ID), fields{"status": "dead", "dead_reason": "expired", "attempts": int64(0), "history": nil})
	}
	if again, err := e.s.ClaimToSettle(e.ctx(), order); err != nil || len(again) != 0 {
		e.Errorf("ClaimToSettle again: %v, %v", ids(again), err)
	}
}

func claimExpiredKind(e *env) {
	e.insert("other", fields{"expires_at": e.ago(time.Minute), "kind": outbox.KindEmail})
	e.insert("a", fields{"expires_at": e.ago(time.Second)})
	e.insert("b", fields{"expires_at": e.ago(0)})
	claimed, err := e.s.ClaimToSettle(e.ctx(), outbox.ClaimOrder{Kind: kind, Limit: 1, Lease: lease, Owner: owner})
	if err != nil || !slices.Equal(ids(claimed), []string{"a"}) {
		e.Errorf("ClaimToSettle: %v, %v, want a", ids(claimed), err)
	}
	e.want(e.get("other"), fields{"status": "pending"})
}

func claimExpiredLease(e *env) {
	lapsed := fields{"status": "leased", "attempts": int64(1), "first_attempt_at": e.ago(time.Hour), "expires_at": e.ago(time.Minute),
		"lease": map[string]any{"token": strings.Repeat("x", 26), "owner": zombie, "at": e.ago(time.Hour), "reclaimed": false}}
	insert := func(id, kind string, more fields) {
		e.insert(id, lapsed)
		more["kind"] = kind
		e.h.Change(id, more)
	}
	still := e.s.Now().Add(time.Hour)
	insert("park", "parked", fields{})
	insert("unlocked", "parked", fields{"status": "pending", "due_at": still})
	insert("own park", "asked", fields{"on_ambiguous": "park"})
	insert("own reconcile", "parked", fields{"on_ambiguous": "reconcile"})
	insert("reconcile", "asked", fields{})
	insert("marked", "parked", fields{"ambiguous_at": e.ago(time.Minute)})
	insert("still held", "parked", fields{"due_at": still})
	insert("asks first", "charged", fields{"on_ambiguous": "park"})
	insert("not expired", "parked", fields{"expires_at": still})
	order := outbox.ClaimOrder{Limit: 20, Lease: lease, Owner: owner}
	if claimed, err := e.s.ClaimToSettle(e.ctx(), order); err != nil || len(claimed) > 0 {
		e.Fatalf("without a word about doubts it claimed %v, %v", ids(claimed), err)
	}
	order.Doubts = map[string]outbox.Ambiguity{"parked": outbox.Park, "asked": outbox.Reconcile}
	claimed, err := e.s.ClaimToSettle(e.ctx(), order)
	got := ids(claimed)
	slices.Sort(got)
	if want := []string{"own park", "park", "unlocked"}; err != nil || !slices.Equal(got, want) {
		e.Errorf("claimed %v, %v, want %v", got, err, want)
	}
	for _, in := range claimed {
		if !in.Lease.Reclaimed {
			e.Errorf("%v was claimed as if nobody had held it", in.ID)
		}
	}
}

func claimUnlocked(e *env) {
	for n, change := range []map[string]any{
		{"status": "pending", "due_at": e.ago(time.Second)},
		{"status": "pending", "due_at": e.ago(time.Second), "attempts": int64(0)},
		{"status": "pending", "due_at": e.ago(time.Second), "attempts": nil, "first_attempt_at": nil},
	} {
		id := fmt.Sprint("unlocked ", n)
		e.insertAndClaim(id, nil)
		e.h.Change(id, change)
		again := e.claimOne()
		if !again.Lease.Reclaimed {
			e.Errorf("%s: the lease that stood there is forgotten", id)
		}
		e.settled(e.decide(again, delivered()))
	}
}

func claimKeepsFirstDue(e *env) {
	due := e.ago(time.Minute)
	in := e.insertAndClaim("a", fields{"due_at": due})
	if !in.FirstDueAt.Equal(due) {
		e.Errorf("first due at %v, want %v", in.FirstDueAt, due)
	}
	for _, v := range []outbox.Verdict{fails(outbox.Transient, outbox.CodeNotSent), unsent(), delivered()} {
		e.settled(e.decide(in, v))
		e.want(e.get("a"), fields{"first_due_at": due})
		if v.Event != outbox.Delivered {
			e.lapse("a")
			in = e.claimOne()
		}
	}
	e.insert("attempted before this was kept", fields{"attempts": int64(1), "first_attempt_at": e.ago(time.Hour)})
	e.settled(e.decide(e.claimOne(), delivered()))
	e.want(e.get("attempted before this was kept"), fields{"first_due_at": nil})
}

func nowFollows(e *env) {
	in := e.insertAndClaim("a", nil)
	if off := e.s.Now().Sub(in.Lease.At); off < -time.Second || off > 20*time.Second {
		e.Errorf("Now is %v from the claim's instant", off)
	}
}
