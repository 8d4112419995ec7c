package outbox

import (
	"maps"
	"testing"
	"time"
)

// TestNextSettlesWhatIsLeftBeforeTheEnd: an intent whose delivery asks first is not given up while something of it
// stands at the provider, whether or not anything is in doubt.
func TestNextSettlesWhatIsLeftBeforeTheEnd(t *testing.T) {
	left := Progress{"payment_intent": "pi_1"}
	for name, row := range map[string]struct {
		claimed  claimed
		asks     bool
		progress Progress
		want     Action
		event    Event
	}{
		"left, attempts left":       {claimed{attempts: 3}, true, left, Send, 0},
		"left, spent":               {claimed{attempts: 4}, true, left, LookUp, 0},
		"left, expired":             {claimed{attempts: 1, expired: true}, true, left, LookUp, 0},
		"left and in doubt":         {claimed{attempts: 4, marked: time.Hour}, true, left, LookUp, 0},
		"nothing left, spent":       {claimed{attempts: 4}, true, nil, Settle, Spent},
		"nothing left, expired":     {claimed{attempts: 1, expired: true}, true, Progress{}, Settle, Lapsed},
		"another delivery, spent":   {claimed{attempts: 4}, false, left, Settle, Spent},
		"another delivery, expired": {claimed{attempts: 1, expired: true}, false, left, Settle, Lapsed},
	} {
		in := row.claimed.intent()
		in.Progress = row.progress
		if action, v := Next(in, testPolicy(Retry, row.asks), testNow); action != row.want || v.Event != row.event {
			t.Errorf("%s: %s %s, want %s %s", name, actions[action], events[v.Event], actions[row.want], events[row.event])
		}
	}
}

// TestDecideGoesToTheLookUpBeforeTheEnd: the last attempt of a charge may have left something at the provider, of
// which the claimed document knows nothing yet.
func TestDecideGoesToTheLookUpBeforeTheEnd(t *testing.T) {
	transient, expired := &Failure{Class: Transient, Code: "c"}, &Failure{Class: Expired, Code: "c"}
	for name, row := range map[string]struct {
		claimed claimed
		asks    bool
		failure *Failure
		want    string
	}{
		"transient, the last attempt":      {claimed{attempts: 3}, true, transient, "pending in 30s, 3 counted, outcome transient, error c"},
		"transient, another delivery":      {claimed{attempts: 3}, false, transient, "dead/exhausted, 3 counted, outcome transient, error c"},
		"expired between steps":            {claimed{attempts: 1, expired: true}, true, expired, "pending in 30s, 0 given back, outcome expired, error c"},
		"expired between, another of them": {claimed{attempts: 1, expired: true}, false, expired, "dead/expired, 0 given back, outcome expired, error c"},
		"invalid":                          {claimed{attempts: 1}, true, &Failure{Class: Invalid, Code: "c"}, "dead/invalid, 0 given back, outcome invalid, error c"},
	} {
		in, p := row.claimed.intent(), testPolicy(Retry, row.asks)
		if got := told(in, p, Decide(in, Verdict{Event: Failed, Failure: row.failure}, p, testNow)); got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}

// TestDecideEndsAtACertainAbsence: what can never come need not be waited for.
func TestDecideEndsAtACertainAbsence(t *testing.T) {
	cancelled := []Record{{What: WhatCancelAtProvider, Ref: "pi_1"}}
	for name, row := range map[string]struct {
		claimed claimed
		class   string // of last_error
		certain bool
		want    string
	}{
		"expired":                  {claimed{attempts: 2, marked: time.Second, expired: true}, "ambiguous", true, "dead/expired, 1 given back, cleared, outcome expired, error expired"},
		"expired, not certain":     {claimed{attempts: 2, marked: time.Second, expired: true}, "ambiguous", false, "pending in 40s, 1 given back, marked"},
		"spent":                    {claimed{attempts: 4, marked: time.Second}, "ambiguous", true, "dead/exhausted, 3 given back, cleared, error attempts_used"},
		"spent by a lost lease":    {claimed{attempts: 4, reclaimed: true, history: []Record{{Attempt: 3}}}, "transient", true, "dead/exhausted, 3 given back, cleared"},
		"spent, not in doubt":      {claimed{attempts: 4}, "transient", true, "dead/exhausted, 3 given back, cleared"},
		"attempts left":            {claimed{attempts: 2, marked: time.Second}, "ambiguous", true, "pending in 0s, 1 given back, cleared"},
		"spent after a rate limit": {claimed{attempts: 4}, "rate_limited", true, "dead/exhausted, 3 given back, cleared, error attempts_used"},
	} {
		in, p := row.claimed.intent(), testPolicy(Retry, true)
		in.Document["last_error"] = map[string]any{"code": "unavailable", "class": row.class}
		d := Decide(in, Verdict{Event: Absent, Certain: row.certain, Also: cancelled}, p, testNow)
		if got := told(in, p, d); got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
		if len(d.Also) != 1 || d.Also[0].Ref != "pi_1" {
			t.Errorf("%s: what was done at the provider is lost: %+v", name, d.Also)
		}
	}
}

// TestDecideBringsAChargeToItsLaneWhenItExpires: its end needs a look-up, so that it must not sleep beyond its expiry.
func TestDecideBringsAChargeToItsLaneWhenItExpires(t *testing.T) {
	for name, row := range map[string]struct {
		asks bool
		left time.Duration // until it expires
		want time.Duration
	}{
		"expires within the wait": {true, 5 * time.Second, 5 * time.Second},
		"expires later":           {true, time.Hour, time.Minute},
		"never expires":           {true, 0, time.Minute},
		"has expired":             {true, -time.Minute, time.Minute},
		"of another delivery":     {false, 5 * time.Second, time.Minute},
	} {
		in := claimed{attempts: 1}.intent()
		if row.left != 0 {
			in.ExpiresAt = testNow.Add(row.left)
		}
		d := Decide(in, Verdict{Event: Failed, Failure: &Failure{Class: RateLimited, Code: "c", RetryAfter: time.Minute}}, testPolicy(Retry, row.asks), testNow)
		if d.Delay != row.want {
			t.Errorf("%s: due in %v, want %v", name, d.Delay, row.want)
		}
	}
}

// TestLabelsAreTheKey: two intents whose keys differ differ in a label, and no two intents share all three.
func TestLabelsAreTheKey(t *testing.T) {
	var b12 [12]byte
	var b16 [16]byte
	seen := map[string]map[string]string{}
	var all []*Intent
	for _, ns := range []string{"k3m9x0q2ab", "zzzzzzzzzz"} {
		for _, id := range []ID{
			NewObjectID(b12), NewStringID(NewObjectID(b12).String()), NewUUID(b16), NewStringID(NewUUID(b16).String()),
			NewStringID("x"), NewStringID("x:g1"), NewStringID("s1/x"), NewStringID("/x"),
		} {
			for generation := range 3 {
				all = append(all, &Intent{Namespace: ns, ID: id, Generation: generation})
			}
		}
	}
	for _, in := range all {
		for other, labels := range seen {
			if maps.Equal(labels, in.Labels()) {
				t.Errorf("%s and %s carry the same labels", in.Key(""), other)
			}
		}
		if _, there := seen[in.Key("")]; there {
			t.Errorf("two intents have the key %s", in.Key(""))
		}
		seen[in.Key("")] = in.Labels()
	}
	if len(seen) != len(all) {
		t.Errorf("%d intents, %d keys", len(all), len(seen))
	}
}
