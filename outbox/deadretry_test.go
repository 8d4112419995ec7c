package outbox

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRetryDead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	charge := Policy{Retry: RetryPolicy{MaxAttempts: 12}, AsksFirst: true}
	sms := Policy{Retry: RetryPolicy{MaxAttempts: 12}}
	dead := func(reason DeadReason, code string, change func(*Intent)) *Intent {
		in := &Intent{ID: NewStringID("a"), Status: StatusDead, DeadReason: reason, Attempts: 12, Document: map[string]any{"last_error": map[string]any{"code": code}}}
		if change != nil {
			change(in)
		}
		return in
	}
	unknown := func(in *Intent) { in.AmbiguousAt = now.Add(-time.Hour) }
	for name, c := range map[string]struct {
		in      *Intent
		policy  Policy
		want    DeadRetry
		refused string
	}{
		"declined card: new keys":              {dead(ReasonPermanent, CodeDeclined, nil), charge, DeadRetry{24, 1, true}, ""},
		"declined again: newer keys":           {dead(ReasonPermanent, CodeDeclined, func(in *Intent) { in.Generation = 2 }), charge, DeadRetry{24, 3, true}, ""},
		"rejected number: new keys":            {dead(ReasonPermanent, CodeBadRecipient, nil), sms, DeadRetry{24, 1, true}, ""},
		"exhausted: same keys":                 {dead(ReasonExhausted, CodeNotSent, nil), sms, DeadRetry{24, 0, false}, ""},
		"invalid no more":                      {dead(ReasonInvalid, CodeInvalid, func(in *Intent) { in.Attempts = 0 }), sms, DeadRetry{12, 0, false}, ""},
		"expires_at was moved":                 {dead(ReasonExpired, CodeExpired, func(in *Intent) { in.Attempts, in.ExpiresAt = 0, now.Add(time.Hour) }), sms, DeadRetry{12, 0, false}, ""},
		"ambiguous charge: asks first":         {dead(ReasonAmbiguous, CodeNoAnswer, unknown), charge, DeadRetry{24, 0, false}, ""},
		"no more attempts than there can be":   {dead(ReasonExhausted, CodeNotSent, func(in *Intent) { in.Attempts = 95 }), sms, DeadRetry{100, 0, false}, ""},
		"declined, an attempt before unknown":  {dead(ReasonPermanent, CodeDeclined, unknown), charge, DeadRetry{24, 0, false}, ""},
		"ambiguous sms":                        {dead(ReasonAmbiguous, CodeNoAnswer, unknown), sms, DeadRetry{}, "nobody knows"},
		"rejected sms, an attempt before open": {dead(ReasonPermanent, CodeBadRecipient, unknown), sms, DeadRetry{}, "nobody knows"},
		"key reused":                           {dead(ReasonPermanent, CodeKeyReused, nil), charge, DeadRetry{}, "another request"},
		"customer may still act":               {dead(ReasonPermanent, CodeActionRequired, nil), charge, DeadRetry{}, "customer may still"},
		"expired":                              {dead(ReasonExhausted, CodeNotSent, func(in *Intent) { in.ExpiresAt = now }), sms, DeadRetry{}, "expires_at"},
		"still invalid":                        {dead(ReasonInvalid, CodeInvalid, func(in *Intent) { in.Problems = []Problem{{"payload.to", "is required"}} }), sms, DeadRetry{}, "payload.to is required"},
		"a hundred attempts":                   {dead(ReasonExhausted, CodeNotSent, func(in *Intent) { in.Attempts = 100 }), sms, DeadRetry{}, "100 attempts"},
		"not dead":                             {dead(ReasonExhausted, CodeNotSent, func(in *Intent) { in.Status = StatusDone }), sms, DeadRetry{}, "it is done"},
		"an unknown reason":                    {dead("tired", CodeNotSent, nil), sms, DeadRetry{}, "dead_reason"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := RetryDead(c.in, c.policy, now)
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			refusal, isRefusal := errors.AsType[*Refusal](err)
			if (c.refused == "") != (err == nil) || err != nil && (!isRefusal || !strings.Contains(refusal.Why, c.refused)) {
				t.Errorf("refusal %v, want one about %q", err, c.refused)
			}
		})
	}
}
