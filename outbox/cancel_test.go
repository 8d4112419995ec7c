package outbox

import "testing"

func TestCancel(t *testing.T) {
	waiting := edits{"status": "pending", "due_at": handNow}
	tried := edits{"status": "pending", "due_at": handNow, "dead_reason": nil, "dead_at": nil}
	for name, c := range map[string]struct {
		in      *Intent
		refused string
	}{
		"never claimed":          {handDoc(KindSMS, waiting), ""},
		"tried, surely not sent": {handDoc(KindSMS, laundered(), tried), ""},
		"breaks the contract":    {handDoc(KindSMS, waiting, edits{"priority": "high"}), ""},
		"a dead letter again":    {handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined), tried, edits{"generation": int64(1)}), ""},

		"ambiguous":                       {handDoc(KindSMS, laundered("ambiguous_at"), tried), "ambiguous_at"},
		"mark taken away":                 {handDoc(KindSMS, laundered("last_error", "history"), tried), "last_error"},
		"only history":                    {handDoc(KindSMS, laundered("history"), tried), "attempt 3"},
		"unlocked by hand":                {handDoc(KindSMS, waiting, edits{"lease": map[string]any{"token": "t"}}), "lease"},
		"unlocked, no trace but attempts": {handDoc(KindSMS, waiting, edits{"attempts": int64(1), "first_attempt_at": handDied}), "attempt 1"},
		"an ambiguous charge":             {handDoc(KindCharge, laundered("ambiguous_at"), tried), "ambiguous_at"},
		"outcome recorded":                {handDoc(KindSMS, waiting, edits{"outcome": map[string]any{"event": "delivered", "receipt": map[string]any{"id": "SM1"}}}), "outcome is known"},
		"it was done":                     {handDoc(KindSMS, waiting, edits{"result": map[string]any{"id": "SM1"}}), "has it already"},
		"leased":                          {handDoc(KindSMS, waiting, edits{"status": "leased", "lease": map[string]any{"token": "t"}}), "a worker holds it"},
		"done":                            {handDoc(KindSMS, edits{"status": "done"}), "it is done"},
		"dead":                            {handDoc(KindSMS, parked()), "it is dead (ambiguous)"},
		"cancelled":                       {handDoc(KindSMS, edits{"status": "cancelled"}), "cancelled already"},
	} {
		t.Run(name, func(t *testing.T) {
			policy := handSMS
			if c.in.Kind == KindCharge {
				policy = handCard
			}
			checkRefusal(t, Cancel(c.in, policy), c.refused)
		})
	}
}
