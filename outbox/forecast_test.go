package outbox

import (
	"strings"
	"testing"
	"time"
)

func TestForesee(t *testing.T) {
	email := handEmail
	email.Reconcile = ReconcilePolicy{Wait: time.Minute, Interval: time.Minute, AbsentAfter: 10 * time.Minute, GiveUp: time.Hour}
	card := handCard
	card.Reconcile = email.Reconcile
	waiting := edits{"status": "pending", "due_at": handNow.Add(time.Minute)}
	doubt := edits{"status": "pending", "due_at": handNow.Add(time.Minute), "attempts": int64(1), "first_attempt_at": handNow, "ambiguous_at": handNow,
		"history": []any{map[string]any{"what": "attempt", "attempt": int64(1), "at": handNow, "outcome": "ambiguous", "code": CodeNoAnswer}}}
	for name, c := range map[string]struct {
		in     *Intent
		p      Policy
		lane   LaneState
		want   []string
		person bool
	}{
		"waiting":       {handDoc(KindSMS, waiting), handSMS, LaneState{}, []string{"A worker sends it (attempt 1 of 12) at 03:05:05."}, false},
		"paused":        {handDoc(KindSMS, waiting), handSMS, LaneState{Paused: true}, []string{"lane is paused", "A worker sends it"}, true},
		"gated":         {handDoc(KindSMS, waiting), handSMS, LaneState{GateUntil: handNow.Add(time.Hour)}, []string{"to wait until 04:04:05.", "at 04:04:05."}, false},
		"in doubt":      {handDoc(KindEmail, doubt), email, LaneState{}, []string{"asks the provider whether", "at 03:05:05.", "not there by 03:14:05, it is sent again", "does not tell by 04:04:05, a person"}, false},
		"a charge":      {handDoc(KindCharge, doubt), card, LaneState{}, []string{"goes on with it under the same key, at 03:05:05."}, false},
		"invalid":       {handDoc(KindSMS, waiting, edits{"priority": "high"}), handSMS, LaneState{}, []string{"becomes a dead letter (invalid) at 03:05:05."}, false},
		"expires first": {handDoc(KindSMS, waiting, edits{"expires_at": handNow.Add(time.Second)}), handSMS, LaneState{}, []string{"dead letter (expired)"}, false},
		"parked":        {handDoc(KindSMS, parked()), handSMS, LaneState{}, []string{"A retry is refused: nobody knows"}, true},
		"exhausted":     {handDoc(KindSMS, laundered()), handSMS, LaneState{}, []string{"A retry is safe"}, true},
		"done":          {handDoc(KindSMS, edits{"status": "done"}), handSMS, LaneState{}, []string{"it is done"}, false},
		"leased":        {handDoc(KindSMS, waiting, edits{"status": "leased", "attempts": int64(1), "first_attempt_at": handNow, "lease": map[string]any{"token": "t", "owner": "vm-1"}}), handSMS, LaneState{}, []string{"Worker vm-1 is on it", "by 03:05:05", "dead letter (ambiguous)"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := Foresee(c.in, c.p, c.lane, handNow)
			got := f.Sentence(func(at time.Time) string { return at.Format("15:04:05") })
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
			if f.Person != c.person {
				t.Errorf("a person is needed: %t", f.Person)
			}
		})
	}
}

func TestDiscard(t *testing.T) {
	for name, c := range map[string]struct {
		in      *Intent
		refused string
	}{
		"exhausted": {handDoc(KindSMS, laundered()), ""},
		"opted out": {handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeOptedOut)), ""},
		"parked":    {handDoc(KindSMS, parked()), "nobody knows"},
		"pending":   {handDoc(KindSMS, edits{"status": "pending", "due_at": handNow}), "it is pending"},
		"it was done, set to dead": {handDoc(KindSMS, died(ReasonExhausted, Transient, CodeNotSent), edits{"result": map[string]any{"id": "SM1"}}),
			"has it already"},
	} {
		t.Run(name, func(t *testing.T) { checkRefusal(t, Discard(c.in, handSMS), c.refused) })
	}
}
