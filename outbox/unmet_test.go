package outbox

import (
	"fmt"
	"testing"
	"time"
)

// TestUnmet shows what costs an attempt of an intent that the provider let not in or did not answer, and what bounds
// it.
func TestUnmet(t *testing.T) {
	const retry, reconcile, park, asks = "retry", "reconcile", "park", "asks first"
	failed := func(class Class, code string) Verdict {
		return Verdict{Event: Failed, Failure: &Failure{Class: class, Code: code, ProviderCode: "p", HTTPStatus: 499, RequestID: "r"}}
	}
	notSent, away, refused := failed(Transient, CodeNotSent), failed(Ambiguous, CodeUnavailable), failed(Hold, CodeForbidden)
	probe := func(v Verdict) Verdict { v.Probe = true; return v }
	alone := func(v Verdict) Verdict { v.Alone = true; return v }
	limited := failed(RateLimited, CodeRateLimited)
	const last = 72*time.Hour - time.Second // before retry.give_up ends it
	rows := []struct {
		policy  string
		claimed claimed
		verdict Verdict
		want    string
	}{
		// What never reached the provider costs nothing, at whatever attempt, until retry.give_up.
		{park, claimed{attempts: 1}, notSent, "pending in 1s, 0 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 3}, notSent, "pending in 1s, 2 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 3, lastCode: CodeNotSent, lastClass: Transient, lastAgo: 4 * time.Second}, notSent, "pending in 8s, 2 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 3, lastCode: CodeNotSent, lastClass: Transient, lastAgo: time.Hour}, notSent, "pending in 1m0s, 2 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 3, lastCode: CodeConflict, lastClass: Transient, lastAgo: time.Hour}, notSent, "pending in 1s, 2 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 1, begun: last}, notSent, "pending in 1s, 0 given back, outcome transient, error not_sent"},
		{park, claimed{attempts: 1, begun: 72 * time.Hour}, notSent, "dead/exhausted, 0 given back, outcome transient, error not_sent"},
		{retry, claimed{attempts: 2, marked: time.Hour, begun: 72 * time.Hour}, notSent, "dead/ambiguous, 1 given back, outcome transient, error not_sent"},
		{retry, claimed{attempts: 2, reclaimed: true, begun: 72 * time.Hour, history: []Record{{Attempt: 1}}}, notSent, "dead/ambiguous, 1 given back, marked, outcome transient, error not_sent"},
		{asks, claimed{attempts: 2, marked: time.Hour, begun: last}, notSent, "pending in 1s, 1 given back, outcome transient, error not_sent"},
		{asks, claimed{attempts: 2, marked: time.Hour, begun: 72 * time.Hour}, notSent, "pending in 30s, 3 given back, outcome transient, error not_sent"},
		{asks, claimed{attempts: 2, begun: 72 * time.Hour}, notSent, "pending in 30s, 3 given back, outcome transient, error not_sent"},

		// A server error counts, unless the provider answers nobody.
		{retry, claimed{attempts: 1}, failed(Transient, CodeUnavailable), "pending in a backoff, 1 counted, outcome transient, error unavailable"},
		{retry, claimed{attempts: 3}, failed(Transient, CodeUnavailable), "dead/exhausted, 3 counted, outcome transient, error unavailable"},
		{retry, claimed{attempts: 3}, probe(failed(Transient, CodeUnavailable)), "pending in 1s, 2 given back, outcome transient, error unavailable"},
		{asks, claimed{attempts: 3}, away, "pending in 30s, 3 counted, marked, outcome ambiguous, error unavailable"},
		{asks, claimed{attempts: 3}, probe(away), "pending in 1s, 2 given back noted, marked, outcome ambiguous, error unavailable"},
		{asks, claimed{attempts: 1, begun: last, lastCode: CodeServerError, lastClass: Ambiguous, lastAgo: 20 * time.Second}, probe(away), "pending in 40s, 0 given back noted, marked, outcome ambiguous, error unavailable"},
		{asks, claimed{attempts: 1, begun: 72 * time.Hour}, probe(away), "pending in 30s, 3 given back noted, marked, outcome ambiguous, error unavailable"},
		{retry, claimed{attempts: 3}, probe(away), "pending in 1s, 2 given back noted, marked, outcome ambiguous, error unavailable"},
		{retry, claimed{attempts: 1, begun: 72 * time.Hour}, probe(away), "dead/ambiguous, 0 given back noted, marked, outcome ambiguous, error unavailable"},
		{reconcile, claimed{attempts: 3}, probe(away), "pending in 30s, 2 given back noted, marked, outcome ambiguous, error unavailable"},
		{reconcile, claimed{attempts: 1, begun: 72 * time.Hour}, probe(away), "pending in 30s, 0 given back noted, marked, outcome ambiguous, error unavailable"},
		{park, claimed{attempts: 1}, probe(away), "dead/ambiguous, 1 counted, marked, outcome ambiguous, error unavailable"},
		{park, claimed{attempts: 1}, probe(failed(Permanent, CodeRejected)), "dead/permanent, 1 counted, outcome permanent, error rejected"},

		// A refusal costs nothing, unless it is the intent's own; then it ends as refused.
		{park, claimed{attempts: 1}, refused, "pending in 1s, 0 given back, outcome hold, error forbidden, hold"},
		{park, claimed{attempts: 1, lastCode: CodeForbidden, lastClass: Hold, lastAgo: 16 * time.Second}, refused, "pending in 32s, 0 given back, outcome hold, error forbidden, hold"},
		{park, claimed{attempts: 1, lastCode: CodeForbidden, lastClass: Hold, lastAgo: 31 * time.Second}, refused, "pending in 1m0s, 0 given back, outcome hold, error forbidden, hold"},
		{park, claimed{attempts: 3, begun: last}, refused, "pending in 1s, 2 given back, outcome hold, error forbidden, hold"},
		{park, claimed{attempts: 3, begun: 72 * time.Hour}, refused, "dead/exhausted, 2 given back, outcome hold, error forbidden, hold"},
		{park, claimed{attempts: 2}, alone(refused), "pending in a backoff, 2 counted, outcome transient, error refused"},
		{park, claimed{attempts: 3}, alone(refused), "dead/permanent, 3 counted, outcome permanent, error refused"},
		{retry, claimed{attempts: 3, marked: time.Hour}, alone(refused), "dead/ambiguous, 3 counted, outcome transient, error refused"},
		{asks, claimed{attempts: 3}, alone(refused), "dead/permanent, 3 counted, outcome permanent, error refused"},
		{asks, claimed{attempts: 3, marked: time.Hour}, alone(refused), "pending in 30s, 3 counted, outcome transient, error refused"},

		// A limit costs nothing; it is bounded all the same.
		{park, claimed{attempts: 3, begun: last}, limited, "pending in 1s, 2 given back, outcome rate_limited, error rate_limited, gate 0s"},
		{park, claimed{attempts: 3, begun: 72 * time.Hour}, limited, "dead/exhausted, 2 given back, outcome rate_limited, error rate_limited, gate 0s"},

		// What was given back before anything happened waits as long as it is told to.
		// A look-up that may not be made waits, and not past reconcile.give_up.
		{reconcile, claimed{attempts: 2, marked: time.Minute}, Verdict{Event: Unsent, Wait: 90 * time.Second}, "pending in 1m30s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 14 * time.Minute}, Verdict{Event: Unsent, Wait: time.Hour}, "pending in 1m0s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 15 * time.Minute, lastCode: CodeNoAnswer, lastClass: Ambiguous}, Verdict{Event: Unsent, Wait: time.Hour}, "dead/ambiguous, 1 given back, marked, outcome ambiguous"},
		{reconcile, claimed{attempts: 2, marked: time.Hour}, Verdict{Event: Unsent, Wait: time.Hour}, "dead/ambiguous, 1 given back, marked, outcome ambiguous, error lease_expired"},
		{reconcile, claimed{attempts: 2, marked: time.Hour, history: []Record{{Attempt: 1, At: testNow.Add(-10 * time.Minute)}}}, Verdict{Event: Unsent, Wait: time.Hour}, "pending in 5m0s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, reclaimed: true}, Verdict{Event: Unsent, Wait: time.Hour}, "pending in 15m0s, 1 given back, marked, abandoned [1]"},
		{asks, claimed{attempts: 4, marked: 14 * time.Minute}, Verdict{Event: Unsent, Wait: time.Hour}, "pending in 1m0s, 3 given back, marked"},
		{asks, claimed{attempts: 4, marked: 15 * time.Minute, lastCode: CodeNoAnswer, lastClass: Ambiguous}, Verdict{Event: Unsent, Wait: time.Hour}, "dead/ambiguous, 3 given back, marked, outcome ambiguous"},
		{asks, claimed{attempts: 4}, Verdict{Event: Unsent, Wait: time.Hour}, "pending in 15m0s, 3 given back, marked"},
	}
	for _, row := range rows {
		p := testPolicy(Ambiguity(row.policy), false)
		if row.policy == asks {
			p = testPolicy(Retry, true)
		}
		in := row.claimed.intent()
		d := Decide(in, row.verdict, p, testNow)
		if err := sound(in, row.verdict, p, testNow, d); err != nil {
			t.Errorf("%s, %+v: %v", row.policy, row.claimed, err)
		}
		if got := told(in, p, d); got != row.want {
			t.Errorf("%s, %+v, %v:\n got %s\nwant %s", row.policy, row.claimed, row.verdict.Failure, got, row.want)
		}
		if f := d.Failure; f != nil && f.Code == CodeRefused && (f.ProviderCode != "p" || f.HTTPStatus != 499 || f.RequestID != "r") {
			t.Errorf("what the provider said is lost: %+v", f)
		}
	}
}

// retry.give_up counts from the latest of the first claim, the first due_at and the last retry by hand.
func TestGiveUpCountsFromTheLatest(t *testing.T) {
	p := testPolicy(Park, false)
	p.Retry.GiveUp = time.Hour
	old, fresh := testNow.Add(-2*time.Hour), testNow.Add(-59*time.Minute)
	for i, c := range []struct {
		first, due, retried time.Time
		ends                bool
	}{
		{old, old, time.Time{}, true}, {old, time.Time{}, time.Time{}, true}, {time.Time{}, old, time.Time{}, true}, {old, old, old, true},
		{fresh, old, time.Time{}, false}, {old, fresh, time.Time{}, false}, {old, old, fresh, false}, {time.Time{}, time.Time{}, time.Time{}, false},
	} {
		in := claimed{attempts: 1}.intent()
		in.FirstAttemptAt, in.FirstDueAt, in.RetriedAt = c.first, c.due, c.retried
		d := Decide(in, Verdict{Event: Failed, Failure: &Failure{Class: Transient, Code: CodeNotSent}}, p, testNow)
		if (d.Status == StatusDead) != c.ends {
			t.Errorf("%d: %s", i, told(in, p, d))
		}
	}
}

// An ambiguous call that was given back stands in history without a number, and the doubt counts from it.
func TestWhatWasGivenBackIsNoted(t *testing.T) {
	p := testPolicy(Reconcile, false)
	in := claimed{attempts: 2, history: []Record{{What: WhatAttempt, Attempt: 1}}}.intent()
	in.Lease.At, in.Lease.Owner = testNow.Add(-3*time.Second), "w"
	s := Settlement{Intent: in, Took: 2 * time.Second,
		Decision: Decide(in, Verdict{Event: Failed, Probe: true, Failure: &Failure{Class: Ambiguous, Code: CodeNoAnswer}}, p, testNow)}
	records := s.Records()
	if want := (Record{What: WhatAttempt, At: in.Lease.At, Took: 2 * time.Second, Outcome: Ambiguous, Code: CodeNoAnswer, Worker: "w"}); len(records) != 1 || fmt.Sprint(records[0]) != fmt.Sprint(want) {
		t.Fatalf("history gets %+v, want %+v", records, want)
	}
	again := claimed{attempts: 2, marked: time.Hour, reclaimed: true, history: append(in.History, records...)}.intent()
	if n := again.recorded(); n != 1 {
		t.Errorf("attempt %d is taken as the last one that counted, want 1", n)
	}
	again.Lease.Reclaimed = false
	d := Decide(again, Verdict{Event: Absent}, p, testNow)
	if got, want := told(again, p, d), "pending in 40s, 1 given back, marked"; got != want {
		t.Errorf("got %q, want %q: the mark is old, the last call is not", got, want)
	}
	again.History = []Record{{What: WhatLookUp, At: testNow, Outcome: Ambiguous}}
	if d := Decide(again, Verdict{Event: Absent}, p, testNow); d.Ambiguous != ClearMark {
		t.Errorf("a look-up counts as a call: %s", told(again, p, d))
	}
}
