package stripe

import (
	"strconv"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// keyWindow is how long a key is relied on. Stripe may forget it 24 hours after the first request (Stripe API
// reference, "Idempotent requests"); the hour between is for the length of an attempt and for clocks.
const keyWindow = 23 * time.Hour

// The fields of progress.
const (
	fieldKey           = "key"
	fieldPaymentIntent = "payment_intent"
	fieldAccount       = "account"
	fieldCreate        = "create"
	fieldConfirm       = "confirm"
	fieldConfirmAt     = "confirm_at"
)

// progress is what must survive between two attempts of one charge.
type progress struct {
	in            *outbox.Intent
	legacy        bool      // what is stored was begun under the keys of older code, and goes on under them
	paymentIntent string    // empty until it is created
	account       string    // the Connect account in which it was created; empty: our own
	create        int64     // which creation key is in use, from 1
	confirm       int64     // which confirmation key is in use, from 1
	confirmAt     time.Time // since which claim, by the database's clock
	former        *former   // the PaymentIntent that an earlier generation left, nil if there is none
}

// former is a PaymentIntent that another generation stored. It must be cancelled before this generation makes its own.
type former struct {
	id, account string
	legacy      bool // it was made by older code
}

// load reads an intent's progress. What was stored under another key belongs to an earlier generation.
func load(in *outbox.Intent) progress {
	p := progress{in: in, create: 1, confirm: 1}
	text := func(field string) string { s, _ := in.Progress[field].(string); return s }
	switch text(fieldKey) {
	case p.root():
	case providers.Key(in.LegacyKey()):
		p.legacy = true
	default:
		if id := text(fieldPaymentIntent); id != "" {
			p.former = &former{id: id, account: text(fieldAccount), legacy: legacyOf(in, text(fieldKey))}
			if charge, ok := in.Payload.(*outbox.Charge); ok && p.former.legacy {
				p.former.account = charge.Account
			}
		}
		return p
	}
	p.paymentIntent, p.account = text(fieldPaymentIntent), text(fieldAccount)
	if charge, ok := in.Payload.(*outbox.Charge); ok && p.legacy { // older code did not store it
		p.account = charge.Account
	}
	p.create = max(1, number(in.Progress[fieldCreate]))
	p.confirm = max(1, number(in.Progress[fieldConfirm]))
	p.confirmAt, _ = in.Progress[fieldConfirmAt].(time.Time)
	return p
}

// legacyOf reports whether a stored key is that of older code, for an earlier generation of the intent.
func legacyOf(in *outbox.Intent, key string) bool {
	then := *in
	for then.Generation = in.Generation - 1; then.Generation >= 0; then.Generation-- {
		if key == providers.Key(then.LegacyKey()) {
			return true
		}
	}
	return false
}

// number reads an integer in any of the types in which a database may return it.
func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int:
		return int64(n)
	case float64:
		return int64(n)
	default:
		return 0
	}
}

// document is the progress as it is stored.
func (p progress) document() outbox.Progress {
	doc := outbox.Progress{fieldKey: p.root(), fieldCreate: p.create, fieldConfirm: p.confirm}
	if p.paymentIntent != "" {
		doc[fieldPaymentIntent] = p.paymentIntent
	}
	if p.account != "" {
		doc[fieldAccount] = p.account
	}
	if !p.confirmAt.IsZero() {
		doc[fieldConfirmAt] = p.confirmAt
	}
	return doc
}

// root is the key without a step: it tells which generation the progress belongs to.
func (p progress) root() string {
	if p.legacy {
		return providers.Key(p.in.LegacyKey())
	}
	return p.in.Key("")
}

func (p progress) createKey() string  { return p.key("create", p.create) }
func (p progress) confirmKey() string { return p.key("confirm", p.confirm) }

// key is the idempotency key of one step of which it is the n-th, from 1. Older code put the step at the end.
func (p progress) key(step string, n int64) string {
	if p.legacy {
		return suffixed(p.root()+":"+step, ":", n)
	}
	return providers.Key(p.in.Key(suffixed(step, ".", n)))
}

func suffixed(step, separator string, n int64) string {
	if n == 1 {
		return step
	}
	return step + separator + strconv.FormatInt(n, 10)
}

// confirming returns the progress under which a PaymentIntent may be confirmed in the given claim. If the key in use
// has come to the end of Stripe's window, the progress has a fresh one.
func (p progress) confirming(claim time.Time) progress {
	switch {
	case p.confirmAt.IsZero():
		p.confirmAt = claim
	case claim.Sub(p.confirmAt) >= keyWindow:
		p.confirm, p.confirmAt = p.confirm+1, claim
	}
	return p
}

// confirmAnew returns the progress with a fresh confirmation key, for Stripe replays a server error under the old one.
func (p progress) confirmAnew() progress {
	p.confirm, p.confirmAt = p.confirm+1, time.Time{}
	return p
}

// createAnew returns the progress with a fresh creation key, and without the PaymentIntent that it may have. That one's
// confirmation key is not used for another.
func (p progress) createAnew() progress {
	p.create++
	if p.paymentIntent != "" {
		p.paymentIntent = ""
		p = p.confirmAnew()
	}
	return p
}
