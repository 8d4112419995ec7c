package check_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/providers/simulator"
)

func TestRightHistory(t *testing.T) {
	r := check.Judge(right().History)
	for _, v := range r.Violations {
		t.Error(v)
	}
	want := check.Totals{
		Transactions: map[string]int{"committed": 5, "aborted": 1, "unknown": 1},
		Intents:      map[string]int{"charge": 1, "email": 3, "sms": 2},
		Effects:      map[string]int{"charge": 1, "email": 2, "sms": 2},
		Duplicates:   map[string]int{"sms retry": 1},
		FollowUps:    1, WriteBacks: 1, Waiting: 1, Claims: 8, Reclaims: 1,
	}
	got := r.Totals
	if !maps.Equal(got.Transactions, want.Transactions) || !maps.Equal(got.Intents, want.Intents) || !maps.Equal(got.Effects, want.Effects) || !maps.Equal(got.Duplicates, want.Duplicates) {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	if got.FollowUps != want.FollowUps || got.WriteBacks != want.WriteBacks || got.Waiting != want.Waiting || got.Claims != want.Claims || got.Reclaims != want.Reclaims {
		t.Errorf("totals %+v, want %+v", got, want)
	}
}

// The judge is worth as much as what it notices: each corruption of the right history must be noticed, under the right
// name.
func TestCorruptedHistories(t *testing.T) {
	remove := func(h *told, id string) {
		delete(h.Docs, id)
		h.Changes = slices.DeleteFunc(h.Changes, func(c check.Change) bool { return c.After.ID == id })
		h.Effects = slices.DeleteFunc(h.Effects, func(e simulator.Effect) bool { return e.OutboxID == id })
	}
	for _, c := range []struct {
		name    string
		corrupt func(h *told)
		rule    string
		id      string
		text    string
	}{
		{"a committed intent is lost", func(h *told) { remove(h, "sms") }, check.RuleLost, "sms", "not in the database"},
		{"half a transaction", func(h *told) { delete(h.Orders, "order-email") }, check.RuleTorn, "email", "order-email is there: false, the intent: true"},
		{"an aborted intent is in the database", func(h *told) {
			h.change("", check.Doc{ID: "aborted", Kind: "sms", Status: "pending", DueAt: at(0)})
			h.Orders["order-aborted"] = check.Order{ID: "order-aborted", State: "open"}
		}, check.RuleAborted, "aborted", "its transaction was aborted"},
		{"an aborted intent was sent", func(h *told) {
			h.Effects = append(h.Effects, simulator.Effect{Kind: "sms", Body: check.TextPrefix + "aborted", At: at(50)})
		}, check.RuleAborted, "aborted", "it had 1 effects"},
		{"an intent that nobody wrote", func(h *told) { h.change("", check.Doc{ID: "ghost", Kind: "sms", Status: "pending"}) }, check.RuleUnknown, "ghost", "in the database"},
		{"an effect that nobody wanted", func(h *told) {
			h.Effects = append(h.Effects, simulator.Effect{Kind: "email", OutboxID: "ghost", At: at(50)})
		}, check.RuleUnknown, "ghost", "1 effects"},
		{"an intent is forgotten while leased", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "a", 100)
		}, check.RuleStuck, "x", "it is leased"},
		{"an intent is forgotten while pending", func(h *told) { h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"}) }, check.RuleStuck, "x", "it is pending"},
		{"an intent is charged twice", func(h *told) { h.effect("charge", 250) }, check.RuleChargedTwice, "charge", "moved 2 times"},
		{"a frozen worker is no excuse for charging twice", func(h *told) {
			h.Workers[0].Frozen = append(h.Workers[0].Frozen, check.Span{From: at(150), To: at(14_000)})
			h.effect("charge", 14_100)
		}, check.RuleChargedTwice, "charge", "moved 2 times"},
		{"an e-mail is sent twice", func(h *told) { h.effect("email", 2300) }, check.RuleDuplicate, "email", "under the policy reconcile"},
		{"an e-mail is sent twice, and its worker was frozen at another time", func(h *told) {
			h.Workers[0].Frozen = append(h.Workers[0].Frozen, check.Span{From: at(40_000), To: at(50_000)})
			h.effect("email", 2300)
		}, check.RuleDuplicate, "email", "no worker was frozen"},
		{"an e-mail is sent twice, and its worker was frozen too short", func(h *told) {
			h.Workers[0].Frozen = append(h.Workers[0].Frozen, check.Span{From: at(150), To: at(2200)})
			h.effect("email", 2300)
		}, check.RuleDuplicate, "email", "no worker was frozen"},
		{"more effects than attempts", func(h *told) { h.effect("twice", 2500) }, check.RuleDuplicate, "twice", "3 effects of 2 attempts"},
		{"done without an effect", func(h *told) {
			h.Effects = slices.DeleteFunc(h.Effects, func(e simulator.Effect) bool { return e.OutboxID == "email" })
		}, check.RuleNoEffect, "email", "had no effect"},
		{"exhausted after all", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "email", Policy: "park", MaxAttempts: 3})
			h.claim("x", "a", 100)
			h.effect("x", 200)
			h.settle("x", "dead", "exhausted", simulator.Effect{})
		}, check.RuleFalseNo, "x", "dead/exhausted"},
		{"declined after all", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "charge", Policy: "retry", Refused: true})
			h.claim("x", "a", 100)
			h.effect("x", 200)
			h.settle("x", "dead", "permanent", simulator.Effect{})
		}, check.RuleUnknown, "x", "the provider refuses it"},
		{"a receipt that nobody gave", func(h *told) { h.Docs["charge"].Result = &check.Result{Provider: "stripe", ID: "pi_other"} }, check.RuleReceipt, "charge", "pi_other"},
		{"another intent's receipt", func(h *told) { h.Docs["twice"].Result = &check.Result{Provider: "sendgrid", ID: h.Effects[2].ID} }, check.RuleReceipt, "twice", "of no effect"},
		{"no receipt", func(h *told) { h.Docs["email"].Result = nil }, check.RuleReceipt, "email", "has no receipt"},
		{"a key of the attempt", func(h *told) { h.Effects[0].Key = "charge:1:confirm" }, check.RuleKey, "charge", "charge:1:confirm"},
		{"a key that progress does not tell of", func(h *told) { h.Effects[0].Key += ":2"; h.Docs["charge"].Progress = &check.Progress{Confirm: 1} }, check.RuleKey, "charge", "charge:confirm:2"},
		{"sent after its expiry", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "email", Policy: "park", Expires: at(5000)})
			h.claim("x", "a", 9000)
			h.settle("x", "done", "done", h.effect("x", 9100))
		}, check.RuleExpired, "x", "4.1s after its expiry"},
		{"sent without a lease", func(h *told) { h.Effects[0].At = at(20_000) }, check.RuleOutsideLease, "charge", "12:00:20.000"},
		{"sent at the end of its lease, where no call may be", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "b", 100)
			h.settle("x", "done", "done", h.effect("x", 4700))
		}, check.RuleOutsideLease, "x", "12:00:04.700"},
		{"sent at the end of its lease, and delays are no excuse for that", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.Delays = []check.Span{{From: at(0), To: at(6000)}}
			h.claim("x", "b", 100)
			h.settle("x", "done", "done", h.effect("x", 6700))
		}, check.RuleOutsideLease, "x", "12:00:06.700"},
		{"a call that outlives its lease", func(h *told) {
			h.Workers[1].Calls = []check.Call{{ID: "sms", Kind: "sms", Told: at(20_000), Took: 4100 * time.Millisecond}}
		}, check.RuleOutlived, "sms", "took 4.1s, and may take 4s"},
		{"a call that outlives its lease, and its worker was frozen before", func(h *told) {
			h.Workers[0].Calls = []check.Call{{ID: "sms", Kind: "sms", Told: at(40_000), Took: 7 * time.Second}}
		}, check.RuleOutlived, "sms", "took 7s"},
		{"a call that outlives its lease, and is told of after another's trouble", func(h *told) {
			h.Workers[0].Calls = []check.Call{{ID: "sms", Kind: "sms", Told: at(50_000), Took: 7 * time.Second}}
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(30_000), To: at(49_000)}, Slot: 1}}
		}, check.RuleOutlived, "sms", "took 7s"},
		{"a follow-up is missing", func(h *told) { remove(h, "charge:done:0") }, check.RuleFollowUp, "charge:done:0", "its parent is done, and it does not exist"},
		{"a follow-up of the other end", func(h *told) { h.follow("charge:dead:0", "sms") }, check.RuleFollowUp, "charge:dead:0", "its parent is done, and it exists"},
		{"a follow-up of its own", func(h *told) {
			for i, c := range h.Changes {
				if c.Before == nil && c.After.ID == "charge:done:0" {
					h.Changes[i].Txn = "another"
				}
			}
		}, check.RuleFollowUpApart, "charge:done:0", "not inserted in the transaction"},
		{"no write_back", func(h *told) { h.Orders["order-charge"] = check.Order{ID: "order-charge", State: "open"} }, check.RuleWriteBack, "charge", "State:open"},
		{"a write_back of another receipt", func(h *told) {
			h.Orders["order-charge"] = check.Order{ID: "order-charge", State: "done", Receipt: "pi_other"}
		}, check.RuleWriteBack, "charge", "pi_other"},
		{"an attempt without a record", func(h *told) { h.Docs["twice"].History = h.Docs["twice"].History[1:] }, check.RuleAttempts, "twice", "2 attempts and 1 records"},
		{"an attempt recorded twice", func(h *told) {
			d := h.Docs["twice"]
			d.History = []check.Record{d.History[0], d.History[0]}
		}, check.RuleAttempts, "twice", "record 1 of history is attempt 1, want 2"},
		{"more attempts than allowed", func(h *told) { h.Docs["twice"].Attempts = 4 }, check.RuleAttempts, "twice", "4 attempts of 3"},
		{"a claim that does not count", func(h *told) { lastClaim(h, "twice").Attempts-- }, check.RuleUncounted, "twice", "from 1 attempts to 1"},
		{"a lease that is too short", func(h *told) { c := lastClaim(h, "twice"); c.DueAt = c.DueAt.Add(-time.Second) }, check.RuleLeaseLength, "twice", "5s long, want 6s"},
		{"a claim under another's lease", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "a", 9900)
			h.claim("x", "b", 11_000)
			h.settle("x", "dead", "ambiguous", simulator.Effect{})
		}, check.RuleStolen, "x", "the lease of a ran until"},
		{"a reclaim that does not say so", func(h *told) { lastClaim(h, "sms").Lease.Reclaimed = false }, check.RuleStolen, "sms", "reclaimed is false"},
		{"a claim before its time", func(h *told) { lastClaim(h, "email").Lease.At = at(1900) }, check.RuleEarly, "email", "200ms before it was due"},
		{"a token given twice", func(h *told) {
			lastClaim(h, "twice").Lease.Token = h.Changes[slices.IndexFunc(h.Changes, func(c check.Change) bool { return c.After.ID == "twice" && c.After.Lease != nil })].After.Lease.Token
		}, check.RuleTokenReused, "twice", "token of an earlier one"},
		{"a lease of a dead worker", func(h *told) {
			h.Workers = append(h.Workers, check.Worker{Name: "c", Slot: 2, Ended: at(50), Told: "kill"})
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "c", 5000)
			h.claim("x", "b", 12_000)
			h.settle("x", "dead", "ambiguous", simulator.Effect{})
		}, check.RuleDeadOwner, "x", "its worker c had ended"},
		{"a lease of nobody", func(h *told) { lastClaim(h, "twice").Lease.Owner = "nobody" }, check.RuleDeadOwner, "twice", "which nobody started"},
		{"a settlement by a zombie", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "retry"})
			h.claim("x", "a", 9900)
			h.claim("x", "b", 16_000)
			h.settleAs("x", "done", "done", h.effect("x", 16_100), "a", at(9900))
		}, check.RuleStaleSettle, "x", "of a, claimed at 12:00:09.900, was settled while b held the lease"},
		{"a settlement by the holder's earlier self", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "retry"})
			h.claim("x", "a", 9900)
			h.claim("x", "a", 31_000)
			h.settleAs("x", "done", "done", h.effect("x", 31_100), "a", at(9900))
		}, check.RuleStaleSettle, "x", "was settled while a held the lease of 12:00:31.000"},
		{"a change without a lease", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			d := *h.Docs["x"]
			d.Status, d.DeadReason = "dead", "ambiguous"
			h.change("", d)
		}, check.RuleUnowned, "x", "while nobody held it"},
		{"a change without a lease that is no end of a hold", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			d := *h.Docs["x"]
			d.DueAt = d.DueAt.Add(-time.Second)
			h.change("", d)
		}, check.RuleUnowned, "x", "while nobody held it"},
		{"a hold's end that changes more than due_at", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.refuse("x", "a", 100)
			d := *h.Docs["x"]
			d.DueAt, d.Attempts = d.DueAt.Add(-time.Second), 1
			h.change("", d)
		}, check.RuleUnowned, "x", "while nobody held it"},
		{"a lease that is renewed", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "a", 100)
			d := *h.Docs["x"]
			d.DueAt = d.DueAt.Add(time.Minute)
			h.change("", d)
			h.settle("x", "dead", "ambiguous", simulator.Effect{})
		}, check.RuleUnowned, "x", "under the same token"},
		{"a change after the end", func(h *told) {
			d := *h.Docs["charge"]
			d.Status = "pending"
			h.change("", d)
			h.Docs["charge"].Status = "done"
		}, check.RuleChangedEnd, "charge", "it was done and was changed to pending"},
		{"a lease that ran out for nothing", func(h *told) { h.Workers[0].Frozen = nil }, check.RuleRanOut, "sms", "nothing had kept the worker"},
		{"a lease that ran out long after the trouble", func(h *told) {
			h.Workers[0].Frozen = nil
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(9900), To: at(11_000)}, Slot: -1}}
		}, check.RuleRanOut, "sms", "nothing had kept the worker"},
		{"a lease that ran out by the trouble of another", func(h *told) {
			h.Workers[0].Frozen = nil
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(9900), To: at(15_000)}, Slot: 1}}
		}, check.RuleRanOut, "sms", "nothing had kept the worker"},
		{"a worker crashes", func(h *told) { h.Workers[1].Told, h.Workers[1].Code = "", 2 }, check.RuleCrashed, "b", "exit code 2"},
		{"a worker does not drain", func(h *told) { h.Workers[1].Code = 1 }, check.RuleDrain, "b", "while nothing was wrong"},
		{"a worker crashes while it drains", func(h *told) { h.Workers[1].Code, h.Workers[1].Drained = 2, false }, check.RuleDrain, "b", "exit code 2"},
		{"a worker does not end", func(h *told) { h.Workers[1].Ended = time.Time{} }, check.RuleDrain, "b", "did not end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := right()
			c.corrupt(h)
			notices(t, check.Judge(h.History), c.rule, c.id, c.text)
		})
	}
}

// notices expects a violation.
func notices(t *testing.T, r check.Report, rule, id, text string) {
	t.Helper()
	if !slices.ContainsFunc(r.Violations, func(v check.Violation) bool {
		return v.Rule == rule && v.ID == id && strings.Contains(v.Text, text)
	}) {
		t.Errorf("not noticed; violations: %v", r.Violations)
	}
}

// lastClaim is the intent's document right after its last claim.
func lastClaim(h *told, id string) *check.Doc {
	for i := len(h.Changes) - 1; i >= 0; i-- {
		c := h.Changes[i]
		if c.After.ID == id && c.After.Lease != nil {
			lease := *c.After.Lease
			c.After.Lease = &lease
			return c.After
		}
	}
	panic("it was never claimed")
}

// What documents say cannot be promised must not be taken for a defect, and is counted apart.
func TestExcuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		tell  func(h *told)
		count string
	}{
		{"a worker is frozen in the middle of sending", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "email", Policy: "reconcile"})
			h.claim("x", "a", 9900) // and is frozen until 30,000
			h.claim("x", "b", 16_000)
			h.settle("x", "done", "done", h.effect("x", 16_100))
			h.effect("x", 30_050)
		}, "email frozen"},
		{"a call that a worker was frozen in is told of after trouble", func(h *told) {
			h.Workers[0].Calls = []check.Call{{ID: "sms", Kind: "sms", Told: at(50_000), Took: 7 * time.Second}} // frozen until 30,000
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(30_000), To: at(40_000)}, Slot: 0}, {Span: check.Span{From: at(39_000), To: at(49_000)}, Slot: -1}}
		}, ""},
		{"trouble keeps the worker from settling", func(h *told) {
			h.Workers[0].Frozen = nil
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(11_000), To: at(13_000)}, Slot: -1}}
		}, ""},
		{"trouble delays a claim until its worker is dead", func(h *told) {
			h.Workers = append(h.Workers, check.Worker{Name: "c", Slot: 2, Ended: at(50), Told: "kill"})
			h.Troubles = []check.Trouble{{Span: check.Span{From: at(0), To: at(4900)}, Slot: -1}}
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.claim("x", "c", 5000)
			h.claim("x", "b", 12_000)
			h.settle("x", "dead", "ambiguous", simulator.Effect{})
		}, ""},
		{"the network delays a request beyond its call", func(h *told) {
			h.write(check.Intent{ID: "x", Kind: "sms", Policy: "park"})
			h.Delays = []check.Span{{From: at(3000), To: at(6000)}}
			h.claim("x", "b", 100)
			h.settle("x", "done", "done", h.effect("x", 5700))
		}, ""},
		{"an intent of unknown fate that is there", func(h *told) {
			h.Orders["order-unknown"] = check.Order{ID: "order-unknown", State: "open"}
			h.change("", check.Doc{ID: "unknown", Kind: "sms", Status: "pending", DueAt: at(0)})
			h.claim("unknown", "b", 100)
			h.settle("unknown", "done", "done", h.effect("unknown", 200))
		}, ""},
		{"a fresh key after a replayed error", func(h *told) {
			h.Effects[0].Key += ":2"
			h.Docs["charge"].Progress = &check.Progress{Confirm: 3}
		}, ""},
		{"long calls, one of a worker that was frozen in the middle", func(h *told) {
			h.Workers[0].Calls = []check.Call{
				{ID: "charge", Kind: "charge", Told: at(9000), Took: 9 * time.Second}, {ID: "sms", Kind: "sms", Told: at(30_100), Took: 20 * time.Second},
			}
		}, ""},
		{"a drain over in the middle of trouble", func(h *told) { h.Workers[0].Code, h.Workers[0].Drained = 1, false }, ""},
		{"a worker that was never served", func(h *told) {
			h.Workers = append(h.Workers, check.Worker{Slot: 2, Ended: at(50), Code: 1})
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := right()
			c.tell(h)
			r := check.Judge(h.History)
			if len(r.Violations) > 0 || c.count != "" && r.Totals.Duplicates[c.count] != 1 {
				t.Errorf("violations %v, duplicates %v", r.Violations, r.Totals.Duplicates)
			}
		})
	}
}
