package outbox

import (
	"testing"
	"time"
)

func TestRetryDead(t *testing.T) {
	const keys, newKeys = 0, 1
	doubt := edits{"ambiguous_at": handDied}
	for name, c := range map[string]struct {
		in      *Intent
		policy  Policy
		want    DeadRetry
		refused string // without --even-final
		even    string // with it
	}{
		"exhausted: same keys": {in: handDoc(KindSMS, died(ReasonExhausted, Transient, CodeNotSent)), policy: handSMS,
			want: DeadRetry{15, keys, false, CodeNotSent}},
		"invalid no more": {in: handDoc(KindSMS, died(ReasonInvalid, Invalid, CodeInvalid), edits{"attempts": nil, "first_attempt_at": nil, "history": nil}), policy: handSMS,
			want: DeadRetry{12, keys, false, CodeInvalid}},
		"expires_at was moved": {in: handDoc(KindSMS, died(ReasonExpired, Expired, CodeExpired), edits{"expires_at": handNow.Add(time.Hour)}), policy: handSMS,
			want: DeadRetry{15, keys, false, CodeExpired}},
		"no more attempts than there can be": {in: handDoc(KindSMS, died(ReasonExhausted, Transient, CodeNotSent), edits{"attempts": int64(95), "first_attempt_at": nil}), policy: handSMS,
			want: DeadRetry{100, keys, false, CodeNotSent}},
		"refused for its own sake": {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeRefused)), policy: handSMS,
			want: DeadRetry{15, newKeys, false, CodeRefused}},
		"another payment stood under its id: new keys": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeMismatch)), policy: handCard,
			want: DeadRetry{15, newKeys, false, CodeMismatch}},
		"again: newer keys": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeMismatch), edits{"generation": int64(2)}), policy: handCard,
			want: DeadRetry{15, 3, false, CodeMismatch}},
		"absence ended the doubt": {in: handDoc(KindEmail, died(ReasonExhausted, Transient, CodeAttemptsUsed), history(attempt(1, Transient, CodeNotSent), attempt(3, Ambiguous, CodeNoAnswer), event(WhatLookUp, nil))), policy: handEmail,
			want: DeadRetry{15, keys, false, CodeAttemptsUsed}},
		"sent again after absence": {in: handDoc(KindEmail, died(ReasonExhausted, Transient, CodeNotSent), history(attempt(2, Ambiguous, CodeNoAnswer), attempt(3, Transient, CodeNotSent))), policy: handEmail,
			want: DeadRetry{15, keys, false, CodeNotSent}},

		// A charge is asked about first, so a doubt is no reason to refuse it, but to keep its keys and its mark.
		"ambiguous charge":                  {in: handDoc(KindCharge, parked()), policy: handCard, want: DeadRetry{15, keys, true, CodeNoAnswer}},
		"ambiguous charge, mark taken away": {in: handDoc(KindCharge, parked(), edits{"ambiguous_at": nil}), policy: handCard, want: DeadRetry{15, keys, true, CodeNoAnswer}},
		"charge without trace but history":  {in: handDoc(KindCharge, laundered("history")), policy: handCard, want: DeadRetry{15, keys, true, CodeNotSent}},
		"mismatch, an attempt before unknown": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeMismatch), doubt), policy: handCard,
			want: DeadRetry{15, keys, true, CodeMismatch}},
		"a no after it had asked about the unclear attempt": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeRefused), history(attempt(2, Ambiguous, CodeNoAnswer), attempt(3, Permanent, CodeRefused))), policy: handCard,
			want: DeadRetry{15, newKeys, false, CodeRefused}},

		// What the provider refused for good.
		"declined":         {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined)), policy: handCard, want: DeadRetry{15, newKeys, false, CodeDeclined}, refused: "(declined)"},
		"bad recipient":    {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeBadRecipient)), policy: handSMS, want: DeadRetry{15, newKeys, false, CodeBadRecipient}, refused: "--even-final"},
		"rejected":         {in: handDoc(KindEmail, died(ReasonPermanent, Permanent, CodeRejected)), policy: handEmail, want: DeadRetry{15, newKeys, false, CodeRejected}, refused: "--even-final"},
		"cancelled there":  {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeCanceled)), policy: handCard, want: DeadRetry{15, newKeys, false, CodeCanceled}, refused: "--even-final"},
		"declined before":  {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined), doubt), policy: handCard, want: DeadRetry{15, keys, true, CodeDeclined}, refused: "--even-final"},
		"reason made nice": {in: handDoc(KindCharge, died(ReasonExhausted, Permanent, CodeDeclined)), policy: handCard, want: DeadRetry{15, keys, false, CodeDeclined}, refused: "--even-final"},
		"code made nice": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined), edits{"last_error": map[string]any{"class": "permanent", "code": CodeRefused}}), policy: handCard,
			want: DeadRetry{15, newKeys, false, CodeRefused}, refused: "--even-final"},
		"behind a note": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeDeclined), edits{"last_error": map[string]any{"class": "permanent", "code": CodeWriteBackMissed}}), policy: handCard,
			want: DeadRetry{15, newKeys, false, CodeDeclined}, refused: "--even-final"},
		"declined in an earlier life": {in: handDoc(KindCharge, died(ReasonExpired, Expired, CodeExpired), history(attempt(3, Permanent, CodeDeclined), event(WhatRetry, nil)), edits{"expires_at": handNow.Add(1)}), policy: handCard,
			want: DeadRetry{15, keys, false, CodeExpired}},

		"opted out":                      {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeOptedOut)), policy: handSMS, refused: "do not send again", even: "do not send again"},
		"opted out, reason made nice":    {in: handDoc(KindSMS, died(ReasonExhausted, Transient, CodeOptedOut)), policy: handSMS, refused: "opted_out", even: "opted_out"},
		"opted out, error taken away":    {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeOptedOut), edits{"last_error": nil}), policy: handSMS, refused: "opted_out", even: "opted_out"},
		"opted out, behind a note":       {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeOptedOut), edits{"last_error": map[string]any{"class": "permanent", "code": CodeFollowUpRefused}}), policy: handSMS, refused: "opted_out", even: "opted_out"},
		"key reused":                     {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeKeyReused)), policy: handCard, refused: "another request", even: "another request"},
		"customer may still act":         {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, CodeActionRequired)), policy: handCard, refused: "customer may still", even: "customer may still"},
		"the code of the no is gone":     {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, ""), edits{"history": nil, "first_attempt_at": nil}), policy: handCard, refused: "not known", even: "not known"},
		"the code of the no is no one's": {in: handDoc(KindCharge, died(ReasonPermanent, Permanent, "tired")), policy: handCard, refused: "not known", even: "not known"},

		// Each trace of a doubt is enough, whatever was done to the others.
		"ambiguous":                       {in: handDoc(KindSMS, parked()), policy: handSMS, refused: "ambiguous_at", even: "outboxd resolve"},
		"mark taken away":                 {in: handDoc(KindSMS, parked(), edits{"ambiguous_at": nil}), policy: handSMS, refused: "dead_reason", even: "outboxd resolve"},
		"only the mark":                   {in: handDoc(KindSMS, laundered("ambiguous_at")), policy: handSMS, refused: "ambiguous_at", even: "outboxd resolve"},
		"only the reason":                 {in: handDoc(KindSMS, laundered("dead_reason")), policy: handSMS, refused: "dead_reason", even: "outboxd resolve"},
		"only the class":                  {in: handDoc(KindSMS, laundered("last_error")), policy: handSMS, refused: "last_error", even: "outboxd resolve"},
		"only history":                    {in: handDoc(KindSMS, laundered("history")), policy: handSMS, refused: "attempt 3", even: "outboxd resolve"},
		"only a lease":                    {in: handDoc(KindSMS, laundered(), edits{"lease": map[string]any{"token": "t"}}), policy: handSMS, refused: "lease", even: "outboxd resolve"},
		"only an unrecorded attempt":      {in: handDoc(KindSMS, laundered(), history(attempt(1, Transient, CodeNotSent), attempt(2, Transient, CodeNotSent))), policy: handSMS, refused: "attempt 3 was begun", even: "outboxd resolve"},
		"its first attempt is unrecorded": {in: handDoc(KindSMS, laundered(), edits{"attempts": int64(1), "history": nil}), policy: handSMS, refused: "attempt 1 was begun", even: "outboxd resolve"},
		"nothing kept":                    {in: handDoc(KindSMS, laundered()), policy: handSMS, want: DeadRetry{15, keys, false, CodeNotSent}},
		"unlocked and sent again by hand": {in: handDoc(KindSMS, died(ReasonExhausted, Transient, CodeNotSent), history(attempt(2, Ambiguous, CodeNoAnswer), attempt(3, Transient, CodeNotSent))), policy: handSMS,
			refused: "attempt 2", even: "outboxd resolve"},
		"a worker that died":               {in: handDoc(KindSMS, laundered(), history(map[string]any{"attempt": int64(3), "outcome": "ambiguous", "code": CodeLeaseExpired})), policy: handSMS, refused: "attempt 3", even: "outboxd resolve"},
		"look-ups that told nothing":       {in: handDoc(KindEmail, laundered(), history(attempt(3, Ambiguous, CodeNoAnswer), event(WhatLookUp, edits{"code": CodeCannotTell}))), policy: handEmail, refused: "attempt 3", even: "outboxd resolve"},
		"rejected, an attempt before open": {in: handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeBadRecipient), doubt), policy: handSMS, refused: "nobody knows", even: "nobody knows"},

		// A person's answer settles what was before it.
		"answered: not sent":          {in: handDoc(KindSMS, laundered("history", "last_error"), notSent(time.Minute)), policy: handSMS, want: DeadRetry{15, keys, false, CodeNoAnswer}},
		"answered before":             {in: handDoc(KindSMS, laundered("last_error"), notSent(-time.Minute)), policy: handSMS, refused: "last_error", even: "last_error"},
		"answered before the attempt": {in: handDoc(KindSMS, laundered("history"), notSent(-time.Hour)), policy: handSMS, refused: "attempt 3", even: "attempt 3"},
		"answered, and killed its worker since": {in: handDoc(KindSMS, laundered(), notSent(time.Minute), edits{"attempts": int64(4), "retried": map[string]any{"at": handDied.Add(time.Hour)}}), policy: handSMS,
			refused: "attempt 4 was begun", even: "attempt 4 was begun"},
		"answered, and the mark is back": {in: handDoc(KindSMS, laundered("ambiguous_at"), notSent(time.Minute)), policy: handSMS, refused: "ambiguous_at", even: "ambiguous_at"},

		"answered, and one attempt before it untold": {in: handDoc(KindSMS, laundered(), notSent(time.Minute), history(attempt(2, Transient, CodeNotSent))), policy: handSMS,
			want: DeadRetry{15, keys, false, CodeNotSent}},
		"answered about a worker that died": {in: handDoc(KindSMS, laundered(), notSent(time.Minute),
			history(map[string]any{"attempt": int64(3), "outcome": "ambiguous", "code": CodeLeaseExpired}, event(WhatResolve, nil))), policy: handSMS,
			want: DeadRetry{15, keys, false, CodeNotSent}},
		"answered, an error of unknown age": {in: handDoc(KindSMS, laundered(), notSent(time.Minute), edits{"last_error": map[string]any{"class": "ambiguous", "code": CodeNoAnswer}}), policy: handSMS,
			refused: "last_error", even: "last_error"},

		// Of a charge, only what asked about the unclear attempt settles it.
		"a charge that could not ask": {in: handDoc(KindCharge, laundered(), history(attempt(2, Ambiguous, CodeNoAnswer), attempt(3, Transient, CodeNotSent))), policy: handCard,
			want: DeadRetry{15, keys, true, CodeNotSent}},
		"a charge whose payment was cancelled": {in: handDoc(KindCharge, laundered(), history(attempt(3, Ambiguous, CodeNoAnswer), event(WhatCancelAtProvider, edits{"ref": "pi_1"}))), policy: handCard,
			want: DeadRetry{15, keys, false, CodeNotSent}},

		// Somebody set it to dead.
		"it was done, without a target": {in: handDoc(KindSMS, laundered(), edits{"last_error": map[string]any{"class": "done", "code": CodeWriteBackMissed}}), policy: handSMS,
			refused: "has it already", even: "has it already"},
		"it was done":       {in: handDoc(KindCharge, laundered(), edits{"result": map[string]any{"id": "pi_1"}}), policy: handCard, refused: "has it already", even: "has it already"},
		"it was done, once": {in: handDoc(KindSMS, laundered(), edits{"done_at": handDied}), policy: handSMS, refused: "has it already", even: "has it already"},
		"it was delivered":  {in: handDoc(KindSMS, laundered(), history(attempt(3, Done, ""))), policy: handSMS, refused: "has it already", even: "has it already"},
		"answered: sent":    {in: handDoc(KindCharge, laundered(), edits{"resolved": map[string]any{"verdict": "sent"}}), policy: handCard, refused: "has it already", even: "has it already"},
		"its outcome is recorded": {in: handDoc(KindCharge, laundered(), edits{"outcome": map[string]any{"event": "delivered", "receipt": map[string]any{"id": "pi_1"}}}), policy: handCard,
			refused: "outcome is recorded", even: "outcome is recorded"},
		"an outcome that nobody can read": {in: handDoc(KindCharge, laundered(), edits{"outcome": "done"}), policy: handCard, refused: "outcome is recorded", even: "outcome is recorded"},

		"expired":            {in: handDoc(KindSMS, laundered(), edits{"expires_at": handNow}), policy: handSMS, refused: "expires_at", even: "expires_at"},
		"still invalid":      {in: handDoc(KindSMS, laundered(), edits{"payload": map[string]any{"from": "+15550001111", "body": "x"}}), policy: handSMS, refused: "payload.to", even: "payload.to"},
		"a hundred attempts": {in: handDoc(KindSMS, laundered(), edits{"attempts": int64(100), "first_attempt_at": nil}), policy: handSMS, refused: "100 attempts", even: "100 attempts"},
		"not dead":           {in: handDoc(KindSMS, laundered(), edits{"status": "done"}), policy: handSMS, refused: "it is done", even: "it is done"},
		"an unknown reason":  {in: handDoc(KindSMS, laundered(), edits{"dead_reason": "tired"}), policy: handSMS, refused: "dead_reason", even: "dead_reason"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, even := range []bool{false, true} {
				want, refused := c.want, map[bool]string{false: c.refused, true: c.even}[even]
				if refused != "" {
					want = DeadRetry{}
				}
				got, err := RetryDead(c.in, c.policy, even, handNow)
				if got != want {
					t.Errorf("even final %v: got %+v, want %+v", even, got, want)
				}
				checkRefusal(t, err, refused)
			}
		})
	}
}

// Which collections may be written back to is configuration; nothing else is blamed on it.
func TestRetryDeadBlamesTheConfigurationOnlyForItself(t *testing.T) {
	orders := edits{"write_back": map[string]any{"collection": "orders", "id": "o", "done": map[string]any{"state": "paid"}}}
	for name, c := range map[string]struct {
		in   *Intent
		want bool
	}{
		"the collection alone":       {handDoc(KindSMS, laundered(), orders), true},
		"another problem as well":    {handDoc(KindSMS, laundered(), orders, edits{"priority": "high"}), false},
		"an ambiguous one":           {handDoc(KindSMS, parked(), orders), false},
		"a final one":                {handDoc(KindSMS, died(ReasonPermanent, Permanent, CodeOptedOut), orders), false},
		"a write_back without an id": {handDoc(KindSMS, laundered(), edits{"write_back": map[string]any{"collection": "orders"}}), false},
		"nothing of the sort":        {handDoc(KindSMS, laundered(), edits{"status": "pending", "due_at": handNow}), false},
	} {
		_, err := RetryDead(c.in, handSMS, false, handNow)
		if refusal, ok := err.(*Refusal); !ok || refusal.Configuration != c.want {
			t.Errorf("%s: %+v, want blamed on the configuration: %v", name, err, c.want)
		}
	}
}
