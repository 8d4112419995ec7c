package outbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testPolicy has three attempts and round, distinct times, so that a wrong one shows.
func testPolicy(onAmbiguous Ambiguity, asksFirst bool) Policy {
	return Policy{
		Retry:       RetryPolicy{MaxAttempts: 3, Base: 2 * time.Second, Max: 15 * time.Minute},
		OnAmbiguous: onAmbiguous,
		Reconcile:   ReconcilePolicy{Wait: 30 * time.Second, Interval: 40 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
		AsksFirst:   asksFirst,
	}
}

// claimed is an intent under a lease, as a table writes it.
type claimed struct {
	attempts  int           // the current one included
	marked    time.Duration // ambiguous_at is so long ago; 0: unset
	reclaimed bool
	expired   bool
	history   []Record
	max       int
	want      Ambiguity
	lastCode  string
	lastClass Class
	lastAgo   time.Duration // last_error is so old
	begun     time.Duration // its first attempt was so long ago
	problems  []Problem
}

func (c claimed) intent() *Intent {
	in := &Intent{ID: NewStringID("order-1"), Kind: KindSMS, Status: StatusLeased, Attempts: c.attempts, History: c.history,
		MaxAttempts: c.max, OnAmbiguous: c.want, Problems: c.problems, Lease: Lease{Token: "t", Reclaimed: c.reclaimed},
		Document: map[string]any{}}
	if c.marked > 0 {
		in.AmbiguousAt = testNow.Add(-c.marked)
	}
	if c.expired {
		in.ExpiresAt = testNow
	}
	if c.lastCode != "" {
		in.Document["last_error"] = map[string]any{"code": c.lastCode, "class": string(c.lastClass), "at": testNow.Add(-c.lastAgo)}
	}
	if c.begun > 0 {
		in.FirstAttemptAt = testNow.Add(-c.begun)
	}
	return in
}

// told writes a decision as one line: the state, then what goes with it.
func told(in *Intent, p Policy, d Decision) string {
	var b strings.Builder
	switch d.Status {
	case StatusPending:
		if backoff := p.Retry.Backoff(d.Attempts, in.LegacyKey()); d.Delay == backoff {
			b.WriteString("pending in a backoff")
		} else {
			fmt.Fprintf(&b, "pending in %v", d.Delay)
		}
	case StatusDead:
		fmt.Fprintf(&b, "dead/%s", d.Reason)
	default:
		b.WriteString(string(d.Status))
	}
	fmt.Fprintf(&b, ", %d", d.Attempts)
	if d.Counted {
		b.WriteString(" counted")
	} else {
		b.WriteString(" given back")
	}
	if d.Noted {
		b.WriteString(" noted")
	}
	b.WriteString([]string{"", ", marked", ", cleared"}[d.Ambiguous])
	if d.Abandoned != nil {
		fmt.Fprintf(&b, ", abandoned %v", d.Abandoned)
	}
	if d.Outcome != "" {
		b.WriteString(", outcome " + string(d.Outcome))
	}
	if d.Failure != nil {
		b.WriteString(", error " + d.Failure.Code)
	}
	if d.Receipt != nil {
		b.WriteString(", receipt " + d.Receipt.ID)
	}
	if d.Gate {
		fmt.Fprintf(&b, ", gate %v", d.GateFor)
	}
	if d.Hold {
		b.WriteString(", hold")
	}
	return b.String()
}

var actions = map[Action]string{Send: "send", LookUp: "look up", Settle: "settle"}

var events = map[Event]string{Delivered: "delivered", Failed: "failed", Found: "found", Absent: "absent", LookUpFailed: "look-up failed",
	Abandoned: "abandoned", Unsent: "unsent", Lapsed: "lapsed", Malformed: "malformed", Spent: "spent"}

// TestNext goes through every policy, doubt, number of attempts and expiry.
func TestNext(t *testing.T) {
	const anyPolicy = ""
	rows := []struct {
		doubt     string // known, marked, reclaimed, both
		policy    Ambiguity
		asksFirst string // yes, no, or either
		// what may be done: with attempts left, with none left, expired
		fresh, spent, expired string
	}{
		{"known", anyPolicy, "either", "send", "settle spent", "settle lapsed"},

		{"marked", anyPolicy, "yes", "send", "look up", "look up"},
		{"reclaimed", anyPolicy, "yes", "send", "look up", "look up"},
		{"both", anyPolicy, "yes", "send", "look up", "look up"},

		{"marked", Retry, "no", "send", "settle abandoned", "settle abandoned"},
		{"reclaimed", Retry, "no", "send", "settle abandoned", "settle abandoned"},
		{"both", Retry, "no", "send", "settle abandoned", "settle abandoned"},

		{"marked", Reconcile, "no", "look up", "look up", "look up"},
		{"reclaimed", Reconcile, "no", "settle abandoned", "settle abandoned", "settle abandoned"},
		{"both", Reconcile, "no", "look up", "look up", "look up"},

		{"marked", Park, "no", "settle abandoned", "settle abandoned", "settle abandoned"},
		{"reclaimed", Park, "no", "settle abandoned", "settle abandoned", "settle abandoned"},
		{"both", Park, "no", "settle abandoned", "settle abandoned", "settle abandoned"},
	}
	covered := 0
	for _, row := range rows {
		for _, policy := range []Ambiguity{Retry, Reconcile, Park} {
			for _, asks := range []bool{false, true} {
				if row.policy != anyPolicy && row.policy != policy || row.asksFirst != "either" && (row.asksFirst == "yes") != asks {
					continue
				}
				c := claimed{reclaimed: row.doubt == "reclaimed" || row.doubt == "both"}
				if row.doubt == "marked" || row.doubt == "both" {
					c.marked = time.Minute
				}
				check := func(column string, c claimed, want string) {
					t.Helper()
					for _, own := range []bool{false, true} { // the kind's policy, or the intent's own against it
						p, c := testPolicy(policy, asks), c
						if own {
							p.OnAmbiguous = map[Ambiguity]Ambiguity{Retry: Park, Park: Retry, Reconcile: Retry}[policy]
							c.want = policy
						}
						action, v := Next(c.intent(), p, testNow)
						got := strings.TrimSpace(actions[action] + " " + events[v.Event])
						if got != want {
							t.Errorf("%s, %s, asks first %v, %s, attempts %d: got %q, want %q", row.doubt, policy, asks, column, c.attempts, got, want)
						}
						c.problems = []Problem{{"payload", "is required"}}
						if action, v := Next(c.intent(), p, testNow); action != Settle || v.Event != Malformed {
							t.Errorf("%s, %s, %s: an intent with problems gets %s %s", row.doubt, policy, column, actions[action], events[v.Event])
						}
					}
					covered++
				}
				for _, attempts := range []int{1, 2, 3} {
					c.attempts = attempts
					check("fresh", c, row.fresh)
				}
				c.attempts = 4
				check("spent", c, row.spent)
				c.expired = true
				for _, attempts := range []int{1, 3, 4} {
					c.attempts = attempts
					check("expired", c, row.expired)
				}
			}
		}
	}
	if want := 4 * 3 * 2 * 7; covered != want {
		t.Errorf("the table covers %d cases of %d", covered, want)
	}
}

func TestNextLeavesAnIntentThatKillsItsWorkersToAPerson(t *testing.T) {
	for _, asks := range []bool{false, true} {
		p := testPolicy(Reconcile, asks)
		c := claimed{attempts: 3 + lookUpCrashes, marked: time.Hour, reclaimed: true, expired: true}
		if action, _ := Next(c.intent(), p, testNow); action != LookUp {
			t.Errorf("asks first %v: with %d claims: %s, want a look-up", asks, c.attempts, actions[action])
		}
		c.attempts++
		if action, v := Next(c.intent(), p, testNow); action != Settle || v.Event != Abandoned {
			t.Errorf("asks first %v: with %d claims: %s %s, want settle abandoned", asks, c.attempts, actions[action], events[v.Event])
		}
		if got, want := told(c.intent(), p, Decide(c.intent(), Verdict{Event: Abandoned}, p, testNow)), "dead/ambiguous, 3 given back"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		// Attempts that a wider policy once allowed are not crashes.
		c.history = []Record{{Attempt: 8}}
		if action, _ := Next(c.intent(), p, testNow); action != LookUp {
			t.Errorf("asks first %v: with 8 recorded attempts: %s, want a look-up", asks, actions[action])
		}
	}
}

func TestIntentExpiresAtItsInstant(t *testing.T) {
	in := &Intent{ID: NewStringID("a"), Attempts: 1, ExpiresAt: testNow}
	p := testPolicy(Park, false)
	if action, _ := Next(in, p, testNow.Add(-1)); action != Send {
		t.Error("an intent is not sent just before expires_at")
	}
	if action, v := Next(in, p, testNow); action != Settle || v.Event != Lapsed {
		t.Error("an intent is sent at expires_at")
	}
}

// TestDecide shows every rule as a line: the intent as it was claimed, the verdict, and what is written.
func TestDecide(t *testing.T) {
	const retry, reconcile, park = "retry", "reconcile", "park"
	const asks = "asks first"
	failed := func(class Class) Verdict {
		return Verdict{Event: Failed, Failure: &Failure{Class: class, Code: "c"}}
	}
	asked := func(class Class) Verdict {
		return Verdict{Event: LookUpFailed, Failure: &Failure{Class: class, Code: "c"}}
	}
	with := func(v Verdict, change func(*Failure)) Verdict { change(v.Failure); return v }
	after := func(d time.Duration) func(*Failure) { return func(f *Failure) { f.RetryAfter = d } }
	receipt := Receipt{Provider: "twilio", ID: "SM1"}
	lateAttempt := []Record{{Attempt: 3, At: testNow.Add(-61 * time.Second), Took: time.Second, Outcome: Ambiguous}}

	rows := []struct {
		policy  string // "asks first" is that flag with policy retry
		claimed claimed
		verdict Verdict
		want    string
	}{
		// The provider has it.
		{park, claimed{attempts: 1}, Verdict{Event: Delivered, Receipt: receipt}, "done, 1 counted, cleared, outcome done, receipt SM1"},
		{park, claimed{attempts: 3, expired: true}, Verdict{Event: Delivered, Receipt: receipt}, "done, 3 counted, cleared, outcome done, receipt SM1"},
		{retry, claimed{attempts: 3, marked: time.Minute, reclaimed: true, history: []Record{{Attempt: 1}}}, Verdict{Event: Delivered, Receipt: receipt}, "done, 3 counted, cleared, abandoned [2], outcome done, receipt SM1"},
		{reconcile, claimed{attempts: 2, marked: time.Minute}, Verdict{Event: Found, Receipt: receipt}, "done, 1 given back, cleared, outcome done, receipt SM1"},
		{asks, claimed{attempts: 4, reclaimed: true}, Verdict{Event: Found, Receipt: receipt}, "done, 3 given back, cleared, abandoned [1 2 3], outcome done, receipt SM1"},

		// Surely not acted upon.
		{park, claimed{attempts: 1}, failed(Transient), "pending in a backoff, 1 counted, outcome transient, error c"},
		{park, claimed{attempts: 1}, with(failed(Transient), after(time.Minute)), "pending in 1m0s, 1 counted, outcome transient, error c"},
		{park, claimed{attempts: 1}, with(failed(Transient), after(48*time.Hour)), "pending in 1h0m0s, 1 counted, outcome transient, error c"},
		{park, claimed{attempts: 3}, failed(Transient), "dead/exhausted, 3 counted, outcome transient, error c"},
		{park, claimed{attempts: 3, max: 4}, failed(Transient), "pending in a backoff, 3 counted, outcome transient, error c"},
		{park, claimed{attempts: 1, max: 1}, failed(Transient), "dead/exhausted, 1 counted, outcome transient, error c"},
		{retry, claimed{attempts: 2, marked: time.Minute}, failed(Transient), "pending in a backoff, 2 counted, outcome transient, error c"},
		{retry, claimed{attempts: 2, reclaimed: true}, failed(Transient), "pending in a backoff, 2 counted, marked, abandoned [1], outcome transient, error c"},
		{retry, claimed{attempts: 3, marked: time.Minute}, failed(Transient), "dead/ambiguous, 3 counted, outcome transient, error c"},
		{retry, claimed{attempts: 3, reclaimed: true, history: []Record{{Attempt: 1}}}, failed(Transient), "dead/ambiguous, 3 counted, marked, abandoned [2], outcome transient, error c"},
		{asks, claimed{attempts: 3}, failed(Transient), "pending in 30s, 3 counted, outcome transient, error c"},
		{asks, claimed{attempts: 3, marked: time.Minute}, failed(Transient), "pending in 30s, 3 counted, outcome transient, error c"},
		{asks, claimed{attempts: 3, reclaimed: true, history: []Record{{Attempt: 2}}}, failed(Transient), "pending in 30s, 3 counted, marked, outcome transient, error c"},

		// The rate limit: the lane waits, the attempt is given back.
		{park, claimed{attempts: 1}, failed(RateLimited), "pending in 1s, 0 given back, outcome rate_limited, error c, gate 0s"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), after(3*time.Second)), "pending in 3s, 2 given back, outcome rate_limited, error c, gate 3s"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), after(time.Millisecond)), "pending in 1s, 2 given back, outcome rate_limited, error c, gate 1s"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), after(24*time.Hour)), "pending in 1h0m0s, 2 given back, outcome rate_limited, error c, gate 1h0m0s"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), after(-time.Hour)), "pending in 1s, 2 given back, outcome rate_limited, error c, gate 0s"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), func(f *Failure) { f.LaneOpen = true }), "pending in 1m0s, 2 given back, outcome rate_limited, error c"},
		{park, claimed{attempts: 3}, with(failed(RateLimited), func(f *Failure) { f.LaneOpen, f.RetryAfter = true, 5*time.Minute }), "pending in 5m0s, 2 given back, outcome rate_limited, error c"},
		{retry, claimed{attempts: 2, reclaimed: true}, failed(RateLimited), "pending in 1s, 1 given back, marked, abandoned [1], outcome rate_limited, error c, gate 0s"},

		// Our own trouble.
		{park, claimed{attempts: 1}, failed(Hold), "pending in 1s, 0 given back, outcome hold, error c, hold"},
		{retry, claimed{attempts: 3, marked: time.Minute}, failed(Hold), "pending in 1s, 2 given back, outcome hold, error c, hold"},

		// The provider's final no; what an earlier attempt did stays unknown unless the delivery asked.
		{park, claimed{attempts: 1}, failed(Permanent), "dead/permanent, 1 counted, outcome permanent, error c"},
		{retry, claimed{attempts: 2, marked: time.Minute}, failed(Permanent), "dead/permanent, 2 counted, outcome permanent, error c"},
		{retry, claimed{attempts: 2, reclaimed: true}, failed(Permanent), "dead/permanent, 2 counted, marked, abandoned [1], outcome permanent, error c"},
		{asks, claimed{attempts: 2, reclaimed: true}, failed(Permanent), "dead/permanent, 2 counted, cleared, abandoned [1], outcome permanent, error c"},
		{asks, claimed{attempts: 1}, with(failed(Permanent), func(f *Failure) { f.Code = CodeKeyReused }), "dead/permanent, 1 counted, marked, outcome permanent, error key_reused"},

		// Nobody can know.
		{park, claimed{attempts: 1}, failed(Ambiguous), "dead/ambiguous, 1 counted, marked, outcome ambiguous, error c"},
		{reconcile, claimed{attempts: 1}, failed(Ambiguous), "pending in 30s, 1 counted, marked, outcome ambiguous, error c"},
		{reconcile, claimed{attempts: 3}, failed(Ambiguous), "pending in 30s, 3 counted, marked, outcome ambiguous, error c"},
		{retry, claimed{attempts: 2}, failed(Ambiguous), "pending in a backoff, 2 counted, marked, outcome ambiguous, error c"},
		{retry, claimed{attempts: 2}, with(failed(Ambiguous), after(time.Minute)), "pending in 1m0s, 2 counted, marked, outcome ambiguous, error c"},
		{retry, claimed{attempts: 3}, failed(Ambiguous), "dead/ambiguous, 3 counted, marked, outcome ambiguous, error c"},
		{asks, claimed{attempts: 2}, failed(Ambiguous), "pending in a backoff, 2 counted, marked, outcome ambiguous, error c"},
		{asks, claimed{attempts: 2, want: Park}, failed(Ambiguous), "pending in a backoff, 2 counted, marked, outcome ambiguous, error c"},
		{asks, claimed{attempts: 2, want: Reconcile}, failed(Ambiguous), "pending in 30s, 2 counted, marked, outcome ambiguous, error c"},
		{asks, claimed{attempts: 3}, failed(Ambiguous), "pending in 30s, 3 counted, marked, outcome ambiguous, error c"},
		{park, claimed{attempts: 1, want: Retry}, failed(Ambiguous), "pending in a backoff, 1 counted, marked, outcome ambiguous, error c"},
		{retry, claimed{attempts: 1, want: Park}, failed(Ambiguous), "dead/ambiguous, 1 counted, marked, outcome ambiguous, error c"},

		// The provider's code found that it cannot be sent.
		{park, claimed{attempts: 1}, failed(Invalid), "dead/invalid, 0 given back, outcome invalid, error c"},
		{park, claimed{attempts: 1}, failed(Expired), "dead/expired, 0 given back, outcome expired, error c"},
		{retry, claimed{attempts: 2, marked: time.Minute}, failed(Expired), "dead/ambiguous, 1 given back, outcome expired, error c"},
		{asks, claimed{attempts: 2, marked: time.Minute}, failed(Expired), "pending in 30s, 1 given back, outcome expired, error c"},
		{reconcile, claimed{attempts: 2, marked: time.Minute}, failed(Invalid), "pending in 30s, 1 given back, outcome invalid, error c"},

		// What no rule knows is what nobody knows.
		{park, claimed{attempts: 1}, failed("novel"), "dead/ambiguous, 1 counted, marked, outcome ambiguous, error c"},
		{park, claimed{attempts: 1}, failed(Done), "dead/ambiguous, 1 counted, marked, outcome ambiguous, error c"},
		{park, claimed{attempts: 1}, Verdict{Event: Failed}, "dead/ambiguous, 1 counted, marked, outcome ambiguous, error unclassified"},
		{park, claimed{attempts: 2}, Verdict{}, "pending in 0s, 1 given back"},

		// A look-up shows nothing: sent again only after absent_after, and only if it may be sent at all.
		{reconcile, claimed{attempts: 2, marked: 30 * time.Second}, Verdict{Event: Absent}, "pending in 40s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 100 * time.Second}, Verdict{Event: Absent}, "pending in 20s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 2 * time.Minute}, Verdict{Event: Absent}, "pending in 0s, 1 given back, cleared"},
		{reconcile, claimed{attempts: 4, marked: 2 * time.Minute}, Verdict{Event: Absent}, "dead/exhausted, 3 given back, cleared, error attempts_used"},
		{reconcile, claimed{attempts: 2, marked: 2 * time.Minute, expired: true}, Verdict{Event: Absent}, "dead/expired, 1 given back, cleared, outcome expired, error expired"},
		{reconcile, claimed{attempts: 2, marked: time.Minute, expired: true}, Verdict{Event: Absent}, "pending in 40s, 1 given back, marked"},
		{asks, claimed{attempts: 4, reclaimed: true, history: []Record{{Attempt: 2}}}, Verdict{Event: Absent}, "pending in 40s, 3 given back, marked, abandoned [3]"},
		{asks, claimed{attempts: 4, marked: time.Hour, reclaimed: true, history: []Record{{Attempt: 2}}}, Verdict{Event: Absent}, "pending in 2m0s, 3 given back, marked, abandoned [3]"},
		{asks, claimed{attempts: 5, marked: time.Hour, reclaimed: true, history: []Record{{Attempt: 3}}}, Verdict{Event: Absent}, "dead/exhausted, 3 given back, cleared, error attempts_used"},
		{asks, claimed{attempts: 4, marked: time.Hour, history: lateAttempt}, Verdict{Event: Absent}, "pending in 40s, 3 given back, marked"},

		// A look-up fails or cannot tell: until give_up.
		{reconcile, claimed{attempts: 2, marked: time.Minute}, asked(Ambiguous), "pending in 40s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 14 * time.Minute}, asked(Transient), "pending in 40s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 15 * time.Minute}, asked(Transient), "dead/ambiguous, 1 given back, marked, outcome ambiguous, error c"},
		{reconcile, claimed{attempts: 2, marked: 15 * time.Minute}, Verdict{Event: LookUpFailed}, "dead/ambiguous, 1 given back, marked, outcome ambiguous, error unclassified"},
		{asks, claimed{attempts: 4, marked: time.Hour, history: lateAttempt}, asked(Transient), "pending in 40s, 3 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 14 * time.Minute}, asked(RateLimited), "pending in 40s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 14 * time.Minute}, with(asked(RateLimited), after(5*time.Minute)), "pending in 1m0s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 15 * time.Minute}, with(asked(RateLimited), after(5*time.Minute)), "dead/ambiguous, 1 given back, marked, outcome ambiguous, error c"},
		{reconcile, claimed{attempts: 2, marked: 14 * time.Minute}, asked(Hold), "pending in 40s, 1 given back, marked"},
		{reconcile, claimed{attempts: 2, marked: 15 * time.Minute}, asked(Hold), "dead/ambiguous, 1 given back, marked, outcome ambiguous, error c"},
		{reconcile, claimed{attempts: 2, marked: time.Hour}, asked(Permanent), "dead/permanent, 1 given back, cleared, outcome permanent, error c"},

		// The lease before this one ran out.
		{park, claimed{attempts: 2, reclaimed: true}, Verdict{Event: Abandoned}, "dead/ambiguous, 1 given back, marked, abandoned [1], outcome ambiguous, error lease_expired"},
		{reconcile, claimed{attempts: 2, reclaimed: true}, Verdict{Event: Abandoned}, "pending in 30s, 1 given back, marked, abandoned [1], outcome ambiguous, error lease_expired"},
		{park, claimed{attempts: 2, marked: time.Minute, lastCode: "no_answer"}, Verdict{Event: Abandoned}, "dead/ambiguous, 1 given back, marked, outcome ambiguous"},
		{park, claimed{attempts: 2, marked: time.Minute}, Verdict{Event: Abandoned}, "dead/ambiguous, 1 given back, marked, outcome ambiguous, error lease_expired"},
		{park, claimed{attempts: 9, reclaimed: true}, Verdict{Event: Abandoned}, "dead/ambiguous, 3 given back, marked, abandoned [1 2 3], outcome ambiguous, error lease_expired"},
		{park, claimed{attempts: 9, reclaimed: true, history: []Record{{Attempt: 7}}}, Verdict{Event: Abandoned}, "dead/ambiguous, 7 given back, marked, outcome ambiguous, error lease_expired"},

		// Not sent.
		{park, claimed{attempts: 1}, Verdict{Event: Unsent}, "pending in 0s, 0 given back"},
		{retry, claimed{attempts: 2, marked: time.Minute}, Verdict{Event: Unsent}, "pending in 0s, 1 given back"},
		{retry, claimed{attempts: 2, reclaimed: true}, Verdict{Event: Unsent}, "pending in 0s, 1 given back, marked, abandoned [1], error lease_expired"},
		{park, claimed{attempts: 1, expired: true}, Verdict{Event: Lapsed}, "dead/expired, 0 given back, outcome expired, error expired"},
		{park, claimed{attempts: 1, problems: []Problem{{"kind", "is required"}}}, Verdict{Event: Malformed}, "dead/invalid, 0 given back, outcome invalid, error invalid"},
		{park, claimed{attempts: 2, reclaimed: true}, Verdict{Event: Malformed}, "dead/invalid, 1 given back, marked, abandoned [1], outcome invalid, error invalid"},
		{park, claimed{attempts: 4}, Verdict{Event: Spent}, "dead/exhausted, 3 given back, error attempts_used"},
	}
	for _, row := range rows {
		p := testPolicy(Ambiguity(row.policy), false)
		if row.policy == asks {
			p = testPolicy(Retry, true)
		}
		in := row.claimed.intent()
		class := Class("")
		if row.verdict.Failure != nil {
			class = row.verdict.Failure.Class
		}
		if got := told(in, p, Decide(in, row.verdict, p, testNow)); got != row.want {
			t.Errorf("%s, %+v, %s %s:\n got %s\nwant %s", row.policy, row.claimed, events[row.verdict.Event], class, got, row.want)
		}
	}
}

// TestDecideInEveryCase holds the invariants over the whole product of what can be claimed and learned.
func TestDecideInEveryCase(t *testing.T) {
	verdicts := []Verdict{{Event: Delivered}, {Event: Found}, {Event: Absent}, {Event: Abandoned}, {Event: Unsent}, {Event: Lapsed}, {Event: Malformed}, {Event: Spent}, {}}
	for _, class := range []Class{Transient, RateLimited, Permanent, Ambiguous, Hold, Invalid, Expired, Done, "", "novel"} {
		verdicts = append(verdicts, Verdict{Event: Failed, Failure: &Failure{Class: class}}, Verdict{Event: LookUpFailed, Failure: &Failure{Class: class}})
	}
	for _, policy := range []Ambiguity{Retry, Reconcile, Park} {
		for _, asks := range []bool{false, true} {
			p := testPolicy(policy, asks)
			for _, attempts := range []int{0, 1, 2, 3, 4, 50} {
				for _, marked := range []time.Duration{0, time.Second, time.Hour} {
					for _, recorded := range []int{0, 1, 3, 5} {
						for bits := range 4 {
							c := claimed{attempts: attempts, marked: marked, reclaimed: bits&1 > 0, expired: bits&2 > 0, history: []Record{{Attempt: recorded}}}
							for _, v := range verdicts {
								in := c.intent()
								if err := sound(in, v, p, testNow, Decide(in, v, p, testNow)); err != nil {
									t.Fatalf("%s, asks first %v, %+v, %s: %v", policy, asks, c, events[v.Event], err)
								}
							}
						}
					}
				}
			}
		}
	}
}

// sound returns what is wrong with a decision, whatever it was made of.
func sound(in *Intent, v Verdict, p Policy, now time.Time, d Decision) error {
	var errs []error
	must := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	most := max(p.maxAttempts(in), in.recorded())
	must(d.Status == StatusPending || d.Status == StatusDone || d.Status == StatusDead, "no status")
	must((d.Status == StatusDead) == (d.Reason != ""), "a dead letter without a reason, or a reason without a dead letter")
	must((d.Status == StatusDone) == (d.Receipt != nil), "done without a receipt, or a receipt that is not done")
	must(d.Status != StatusDead || d.Failure != nil || in.lastCode() != "", "a dead letter without last_error")
	must(d.Delay >= 0, "a retry in the past")
	must(d.Status == StatusPending || d.Delay == 0, "a final state with a delay")
	must(d.Attempts >= 0 && d.Attempts <= most, "attempts outside of 0 and the maximum")
	must(!d.Counted || d.Attempts == min(in.Attempts, most), "a counted attempt that does not count")
	gaveUp := p.AsksFirst && d.Status == StatusPending && d.Attempts == most // what follows are look-ups
	must(d.Counted || d.Attempts == max(0, min(in.Attempts-1, most)) || gaveUp, "an attempt not given back")
	must(!d.Noted || !d.Counted && d.Outcome == Ambiguous && d.Status != StatusDone, "a note of what counts or is certain")
	must(!(v.Event == LookUpFailed && (d.Gate || d.Hold)), "a look-up that stops the lane")
	must(len(d.Abandoned) == 0 || in.Lease.Reclaimed, "abandoned attempts without a lease that ran out")
	for i, n := range d.Abandoned {
		must(n > in.recorded() && n < in.Attempts && n <= most && (i == 0 || n == d.Abandoned[i-1]+1), "abandoned attempts that are none")
	}
	must(d.GateFor >= 0 && d.GateFor <= time.Hour && (d.Gate || d.GateFor == 0), "a gate without bounds")
	must(!(d.Counted && (d.Gate || d.Hold)), "a gate or hold that costs an attempt")
	must(d.Status != StatusDead || d.Reason != ReasonAmbiguous || d.Ambiguous != ClearMark, "an ambiguous dead letter whose doubt is cleared")
	must(!in.unknown() || d.Ambiguous != ClearMark || v.Event != Unsent && v.Event != Abandoned, "a doubt cleared though nobody asked")
	must(!in.Lease.Reclaimed || d.Ambiguous != KeepMark || !in.AmbiguousAt.IsZero(), "a lost lease forgotten")
	if d.Status == StatusDead && (d.Reason == ReasonExhausted || d.Reason == ReasonExpired) && v.Event != Spent && v.Event != Lapsed {
		must(!in.unknown() || d.Ambiguous == ClearMark, "a doubtful intent that ends as if surely not sent")
	}
	if d.Status == StatusPending && p.validTimes() {
		must(d.Delay <= max(time.Hour, p.Retry.Max, p.Reconcile.Wait, p.Reconcile.Interval, p.Reconcile.AbsentAfter), "a delay beyond all bounds")
	}
	return errors.Join(errs...)
}

func (p Policy) validTimes() bool { return p.Validate() == nil }
