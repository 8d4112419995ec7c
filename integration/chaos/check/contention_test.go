package check_test

import (
	"testing"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/providers/simulator"
)

// record ends the attempt with an outcome whose consequences have to wait.
func (h *told) record(id, outcome string, e simulator.Effect) {
	d := *h.Docs[id]
	claimed, owner := d.Lease.At, d.Lease.Owner
	d.History = append(append([]check.Record(nil), d.History...), check.Record{What: "attempt", Attempt: d.Attempts, At: claimed, Outcome: outcome, Worker: owner})
	d.Status, d.Lease, d.DueAt = "pending", nil, claimed.Add(time.Second)
	d.Outcome = &check.Outcome{Event: "failed", Reason: outcome}
	if outcome == "done" {
		d.Outcome = &check.Outcome{Event: "delivered", Receipt: &check.Result{Provider: e.Provider, ID: e.ID}}
	}
	h.change("", d)
}

// finish writes what was recorded.
func (h *told) finish(id string) {
	d := *h.Docs[id]
	o := d.Outcome
	d.Lease, d.Outcome, d.DueAt, d.Attempts = nil, nil, time.Time{}, d.Attempts-1
	if d.Status = "done"; o.Reason != "" {
		d.Status, d.DeadReason, d.LastError = "dead", o.Reason, &check.Error{Code: "code"}
	}
	d.Result = o.Receipt
	h.change("settle-"+id, d)
}

// refuse claims an intent and gives it back, since the provider refused the account.
func (h *told) refuse(id, owner string, ms int) {
	h.claim(id, owner, ms)
	d := *h.Docs[id]
	d.Status, d.Lease, d.DueAt, d.Attempts = "pending", nil, at(ms+30_000), d.Attempts-1
	d.LastError = &check.Error{Class: "hold", Code: "unauthorized"}
	h.change("", d)
}

// hand is what a person does.
func (h *told) hand(what, id string, ms int) {
	h.Hands = append(h.Hands, check.Hand{ID: id, What: what})
	d := *h.Docs[id]
	if what == check.Cancel {
		d.Status, d.DueAt = "cancelled", time.Time{}
	} else {
		d.Status, d.DueAt = "pending", at(ms)
	}
	h.change("", d)
}

// contended is a history of locks, hands and refusals in which every promise is kept.
func contended() *told {
	h := newTold()
	h.Namespace = "k3m9x0q2ab"
	h.Shared = map[string]map[string]string{"shared": {"shared": "done", "shared-dead": "dead/permanent"}}
	key := func(e simulator.Effect, id, fresh string) simulator.Effect {
		h.Effects[len(h.Effects)-1].Key = "k3m9x0q2ab/s0/confirm" + fresh + "/" + id
		return e
	}
	// A charge whose order was locked: its outcome is recorded, and written two tries later.
	h.write(check.Intent{ID: "charge", Kind: "charge", Policy: "retry", WriteBack: true, OnDone: []check.Intent{{ID: "charge:done:0", Kind: "sms", Policy: "park", MaxAttempts: 3}}})
	h.claim("charge", "a", 100)
	e := key(h.effect("charge", 200), "charge", "")
	h.record("charge", "done", e)
	h.claim("charge", "b", 1200)
	d := *h.Docs["charge"] // in vain
	d.Status, d.Lease, d.DueAt, d.Attempts = "pending", nil, at(3000), 1
	h.change("", d)
	h.claim("charge", "a", 3100)
	h.finish("charge")
	h.Orders["order-charge"] = check.Order{ID: "order-charge", State: "done", Receipt: e.ID}
	h.follow("charge:done:0", "sms")
	h.claim("charge:done:0", "b", 4000)
	h.settle("charge:done:0", "done", "done", h.effect("charge:done:0", 4100))

	// One that was settled at once, to a document that many share, and one that was declined and had to wait for it.
	h.write(check.Intent{ID: "shared", Kind: "email", Policy: "reconcile", Shared: "shared"})
	h.claim("shared", "b", 100)
	h.settle("shared", "done", "done", h.effect("shared", 200))
	h.write(check.Intent{ID: "shared-dead", Kind: "charge", Policy: "retry", Refused: true, Shared: "shared"})
	h.claim("shared-dead", "b", 100)
	h.record("shared-dead", "permanent", simulator.Effect{})
	// What only has to be written is claimed for as long as what expired.
	h.claim("shared-dead", "a", 1300)
	c := lastClaim(h, "shared-dead")
	c.DueAt = c.Lease.At.Add(30 * time.Second)
	h.Docs["shared-dead"].DueAt = c.DueAt
	h.finish("shared-dead")

	// One that a person unlocked while its worker was at it, and that is parked by the next.
	h.write(check.Intent{ID: "unlocked", Kind: "sms", Policy: "park"})
	h.claim("unlocked", "a", 100)
	h.effect("unlocked", 200)
	h.hand(check.Unlock, "unlocked", 300)
	h.claim("unlocked", "b", 400)
	lastClaim(h, "unlocked").Lease.Reclaimed = true
	h.settle("unlocked", "dead", "ambiguous", simulator.Effect{})
	h.Docs["unlocked"].AmbiguousAt = at(400)

	// One that its holder settled all the same, before another came.
	h.write(check.Intent{ID: "held on", Kind: "sms", Policy: "park"})
	h.claim("held on", "a", 100)
	h.hand(check.Unlock, "held on", 300)
	h.settle("held on", "done", "done", h.effect("held on", 200))

	// One that a person cancelled, one that was too large, and one whose look-ups are in its history.
	h.write(check.Intent{ID: "cancelled", Kind: "sms", Policy: "park"})
	h.hand(check.Cancel, "cancelled", 100)
	h.write(check.Intent{ID: "large", Kind: "sms", Policy: "park", Oversized: true})
	h.claim("large", "a", 100)
	d = *h.Docs["large"]
	d.Status, d.DeadReason, d.Lease, d.DueAt, d.Attempts = "dead", "invalid", nil, time.Time{}, 0
	h.change("", d)
	h.write(check.Intent{ID: "asked", Kind: "charge", Policy: "retry"})
	h.claim("asked", "a", 100)
	h.settle("asked", "done", "done", key(h.effect("asked", 200), "asked", ".2"))
	h.Docs["asked"].Progress = &check.Progress{Confirm: 2}
	h.Docs["asked"].History = append(h.Docs["asked"].History, check.Record{What: "lookup"}, check.Record{What: "cancel_at_provider"})
	// A text that the provider refused for the account's sake. The hold ended, and it became due at once.
	h.write(check.Intent{ID: "refused", Kind: "sms", Policy: "park"})
	h.refuse("refused", "a", 100)
	hastened := *h.Docs["refused"]
	hastened.DueAt = at(4000)
	h.change("", hastened)
	h.claim("refused", "a", 4100)
	h.settle("refused", "done", "done", h.effect("refused", 4200))
	return h
}

func TestContendedHistory(t *testing.T) {
	r := check.Judge(contended().History)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if got := r.Totals; got.Recorded != 2 || got.WriteBacks != 3 || got.Hands[check.Unlock] != 2 || got.Hands[check.Cancel] != 1 || got.Oversized != 1 {
		t.Errorf("totals %+v", got)
	}
}

func TestCorruptedContention(t *testing.T) {
	last := func(h *told, id string) *check.Change {
		for i := len(h.Changes) - 1; i >= 0; i-- {
			if h.Changes[i].After.ID == id {
				return &h.Changes[i]
			}
		}
		return nil
	}
	for _, c := range []struct {
		name    string
		corrupt func(h *told)
		rule    string
		id      string
		text    string
	}{
		{"a recorded outcome is sent again", func(h *told) { h.Effects[0].At = at(3200); h.Docs["charge"].Lease = nil; shorten(h, "charge") }, check.RuleRecorded, "charge", "sent again"},
		{"a recorded outcome ends otherwise", func(h *told) { last(h, "charge").After.Status = "dead"; last(h, "charge").After.DeadReason = "expired" }, check.RuleRecorded, "charge", "ended as dead/expired"},
		{"a recorded outcome gets another receipt", func(h *told) { last(h, "charge").After.Result = &check.Result{Provider: "stripe", ID: "pi_other"} }, check.RuleRecorded, "charge", "pi_other"},
		{"a recorded refusal ends otherwise", func(h *told) { last(h, "shared-dead").After.DeadReason = "exhausted" }, check.RuleRecorded, "shared-dead", "dead/exhausted"},
		{"a recorded outcome is dropped", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "a", 100)
			h.record("x", "done", h.effect("x", 200))
			h.claim("x", "a", 1300)
			d := *h.Docs["x"]
			d.Status, d.Lease, d.Outcome, d.DueAt, d.Attempts = "pending", nil, nil, at(2000), 1
			h.change("", d)
		}, check.RuleRecorded, "x", "is gone while it is pending"},
		{"a recorded outcome is never written", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "a", 100)
			h.record("x", "done", h.effect("x", 200))
		}, check.RuleRecorded, "x", "(delivered) is recorded, and was never written"},
		{"a recorded outcome stays for ever", func(h *told) { h.Docs["charge"].Outcome = &check.Outcome{Event: "delivered"} }, check.RuleRecorded, "charge", "still has the outcome"},
		{"a follow-up is lost on the way", func(h *told) { delete(h.Docs, "charge:done:0") }, check.RuleFollowUp, "charge:done:0", "its parent is done, and it does not exist"},
		{"a write_back is lost", func(h *told) { delete(h.Shared["shared"], "shared") }, check.RuleWriteBack, "shared", `left "" in the shared document shared, want "done"`},
		{"a write_back of a refusal is lost", func(h *told) { delete(h.Shared["shared"], "shared-dead") }, check.RuleWriteBack, "shared-dead", `want "dead/permanent"`},
		{"a write_back of the other end", func(h *told) { h.Shared["shared"]["shared"] = "dead/exhausted" }, check.RuleWriteBack, "shared", `left "dead/exhausted"`},
		{"an order is not written", func(h *told) { h.Orders["order-charge"] = check.Order{ID: "order-charge", State: "open"} }, check.RuleWriteBack, "charge", "State:open"},
		{"a worker unlocks", func(h *told) { h.Hands = nil }, check.RuleUnowned, "unlocked", "as people do it (unlock), and nobody did"},
		{"a worker cancels", func(h *told) { h.Hands = nil }, check.RuleCancelled, "cancelled", "as people do it (cancel), and nobody did"},
		{"the evidence of a hand edit is passed over", func(h *told) { lastClaim(h, "unlocked").Lease.Reclaimed = false }, check.RuleStolen, "unlocked", "reclaimed is false"},
		{"what was unlocked is sent again", func(h *told) { h.effect("unlocked", 500) }, check.RuleDuplicate, "unlocked", "2 effects under the policy park"},
		{"a doubtful one is cancelled", func(h *told) { last(h, "cancelled").Before.AmbiguousAt = at(50) }, check.RuleCancelled, "cancelled", "may have acted"},
		{"an unlocked one is cancelled", func(h *told) { last(h, "cancelled").Before.Lease = &check.Lease{Token: "t"} }, check.RuleCancelled, "cancelled", "leased true"},
		{"a recorded one is cancelled", func(h *told) { last(h, "cancelled").Before.Outcome = &check.Outcome{Event: "delivered"} }, check.RuleCancelled, "cancelled", "recorded true"},
		{"a cancelled one was sent", func(h *told) { h.effect("cancelled", 50) }, check.RuleFalseNo, "cancelled", "it was cancelled before it was sent"},
		{"what is too large is sent", func(h *told) { h.effect("large", 150) }, check.RuleOversized, "large", "dead/invalid with 1 effects"},
		{"what is too large is given up otherwise", func(h *told) { h.Docs["large"].DeadReason = "exhausted" }, check.RuleOversized, "large", "dead/exhausted"},
		{"a key without the namespace", func(h *told) { h.Effects[0].Key = "charge:confirm" }, check.RuleKey, "charge", "k3m9x0q2ab/s0/confirm/charge"},
		{"a key of another namespace", func(h *told) { h.Effects[0].Key = "aaaaaaaaaa/s0/confirm/charge" }, check.RuleKey, "charge", "aaaaaaaaaa"},
		{"a key of another type of id", func(h *told) { h.Effects[0].Key = "k3m9x0q2ab/o0/confirm/charge" }, check.RuleKey, "charge", "/o0/"},
		{"a key of another generation", func(h *told) { h.Effects[0].Key = "k3m9x0q2ab/s1/confirm/charge" }, check.RuleKey, "charge", "/s1/"},
		{"a key of another id", func(h *told) { h.Effects[0].Key = "k3m9x0q2ab/s0/confirm/charge-2" }, check.RuleKey, "charge", "charge-2"},
		{"a fresh key that progress does not tell of", func(h *told) { h.Docs["asked"].Progress.Confirm = 1 }, check.RuleKey, "asked", "confirm.2"},
		{"an attempt hides behind a look-up", func(h *told) { h.Docs["asked"].History[0].What = "lookup" }, check.RuleAttempts, "asked", "1 attempts and 0 records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := contended()
			c.corrupt(h)
			notices(t, check.Judge(h.History), c.rule, c.id, c.text)
		})
	}
}

// shorten ends an intent's first lease long before the others, so that nothing later happened under it.
func shorten(h *told, id string) {
	for i, c := range h.Changes {
		if c.After.ID == id && c.After.Lease != nil && c.Before.Lease == nil {
			h.Changes[i].After.DueAt = at(1000)
			return
		}
	}
}
