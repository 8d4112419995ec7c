package outbox

import (
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	sent, not := PersonVerdict{Sent: true, Evidence: "SM1", By: "ada"}, PersonVerdict{Why: "not in the log", By: "ada"}
	alive := edits{"status": "pending", "due_at": handNow, "dead_reason": nil, "dead_at": nil}
	answered := func(verdict, evidence string) edits {
		return edits{"resolved": map[string]any{"verdict": verdict, "evidence": evidence, "at": handDied.Add(time.Minute)}}
	}
	recorded := edits{"outcome": map[string]any{"event": "delivered", "receipt": map[string]any{"id": "SM1"}}}
	for name, c := range map[string]struct {
		in      *Intent
		refused string // both answers
		again   *PersonVerdict
		reason  DeadReason // of "not sent"
	}{
		"ambiguous":                       {in: handDoc(KindSMS, parked()), reason: ReasonExhausted},
		"ambiguous, mark taken away":      {in: handDoc(KindSMS, parked(), edits{"ambiguous_at": nil}), reason: ReasonExhausted},
		"a no, an attempt before is open": {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeBadRecipient), edits{"ambiguous_at": handDied}), reason: ReasonPermanent},
		"ambiguous and invalid":           {in: handDoc(KindSMS, parked(), edits{"priority": "high"}), reason: ReasonExhausted},
		"ambiguous again after an answer": {in: handDoc(KindSMS, parked(), notSent(-time.Hour), edits{"retried": map[string]any{"at": handDied.Add(-time.Minute)}}), reason: ReasonExhausted},
		"answered, and retried since":     {in: handDoc(KindSMS, laundered("last_error"), notSent(-time.Minute), edits{"retried": map[string]any{"at": handDied}}), reason: ReasonExhausted},

		"exhausted":                              {in: handDoc(KindSMS, laundered()), refused: "its outcome is known (exhausted)"},
		"invalid":                                {in: handDoc(KindSMS, died(ReasonInvalid, Invalid, CodeInvalid)), refused: "its outcome is known (invalid)"},
		"declined":                               {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined)), refused: "its outcome is known (permanent)"},
		"answered, retried, and exhausted since": {in: handDoc(KindSMS, laundered(), notSent(-time.Hour), edits{"retried": map[string]any{"at": handDied.Add(-time.Minute)}}), refused: "its outcome is known"},
		"waiting":                                {in: handDoc(KindSMS, edits{"status": "pending", "due_at": handNow}), refused: "it is pending"},
		"reconciling":                            {in: handDoc(KindSMS, laundered("ambiguous_at"), alive), refused: "still asking the provider"},
		"leased":                                 {in: handDoc(KindSMS, alive, edits{"status": "leased"}), refused: "a worker holds it"},
		"done":                                   {in: handDoc(KindSMS, edits{"status": "done"}), refused: "it is done"},
		"cancelled":                              {in: handDoc(KindSMS, edits{"status": "cancelled"}), refused: "it is cancelled"},
		"done, set to dead":                      {in: handDoc(KindSMS, parked(), edits{"result": map[string]any{"id": "SM1"}}), refused: "has it already"},
		"outcome is recorded":                    {in: handDoc(KindSMS, parked(), recorded), refused: "outcome is recorded"},

		"sent before":              {in: handDoc(KindSMS, edits{"status": "done"}, answered("sent", "SM1")), again: &sent},
		"sent before, not written": {in: handDoc(KindSMS, alive, recorded, answered("sent", "SM1")), again: &sent},
		"sent before as another":   {in: handDoc(KindSMS, edits{"status": "done"}, answered("sent", "SM2")), refused: "it is done"},
		"not sent before":          {in: handDoc(KindSMS, laundered("last_error", "history"), answered("not_sent", "")), again: &not},
	} {
		t.Run(name, func(t *testing.T) {
			for _, a := range []PersonVerdict{sent, not} {
				got, err := Resolve(c.in, a, handSMS, handNow)
				switch {
				case c.again != nil && *c.again == a:
					if err != nil || !got.Again {
						t.Errorf("%s, again: %+v, %v", a.Verdict(), got, err)
					}
				case c.again != nil:
					if err == nil || got != (Resolution{}) {
						t.Errorf("%s after the opposite: %+v", a.Verdict(), got)
					}
				case c.refused != "":
					checkRefusal(t, err, c.refused)
				case a.Sent:
					if err != nil || got.Outcome == nil || !got.Outcome.valid() || got.Outcome.Receipt.ID != "SM1" || got.Outcome.Receipt.Provider != "twilio" || got.Outcome.Attempts != 3 {
						t.Errorf("sent: %+v, %v", got, err)
					}
				default:
					if err != nil || got.Outcome != nil || got.Reason != c.reason {
						t.Errorf("not sent: %+v, %v", got, err)
					}
				}
			}
		})
	}
	in := handDoc(KindSMS, parked(), edits{"write_back": map[string]any{"collection": "orders", "id": "o", "done": map[string]any{"state": "paid"}}})
	if _, err := Resolve(in, sent, handSMS, handNow); err == nil || !err.(*Refusal).Configuration {
		t.Errorf("a write_back that would be left out: %v", err)
	}
	if _, err := Resolve(in, not, handSMS, handNow); err != nil {
		t.Errorf("not sent has no write_back: %v", err)
	}
}
