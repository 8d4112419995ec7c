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
	fieldCreate        = "create"
	fieldConfirm       = "confirm"
	fieldConfirmAt     = "confirm_at"
)

// progress is what must survive between two attempts of one charge.
type progress struct {
	key           string    // the intent's key, under which the rest was done
	paymentIntent string    // empty until it is created
	create        int64     // which creation key is in use, from 1
	confirm       int64     // which confirmation key is in use, from 1
	confirmAt     time.Time // since which claim, by the database's clock
}

// load reads an intent's progress. What was stored under another key belongs to an earlier generation, whose
// PaymentIntent surely was not charged.
func load(in *outbox.Intent) progress {
	p := progress{key: providers.Key(in.LegacyKey()), create: 1, confirm: 1}
	if stored, _ := in.Progress[fieldKey].(string); stored != p.key {
		return p
	}
	p.paymentIntent, _ = in.Progress[fieldPaymentIntent].(string)
	p.create = max(1, number(in.Progress[fieldCreate]))
	p.confirm = max(1, number(in.Progress[fieldConfirm]))
	p.confirmAt, _ = in.Progress[fieldConfirmAt].(time.Time)
	return p
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
	doc := outbox.Progress{fieldKey: p.key, fieldCreate: p.create, fieldConfirm: p.confirm}
	if p.paymentIntent != "" {
		doc[fieldPaymentIntent] = p.paymentIntent
	}
	if !p.confirmAt.IsZero() {
		doc[fieldConfirmAt] = p.confirmAt
	}
	return doc
}

func (p progress) createKey() string  { return suffixed(p.key+":create", p.create) }
func (p progress) confirmKey() string { return suffixed(p.key+":confirm", p.confirm) }

func suffixed(key string, n int64) string {
	if n == 1 {
		return key
	}
	return key + ":" + strconv.FormatInt(n, 10)
}

// confirming returns the progress under which a PaymentIntent may be confirmed in the given claim: with a fresh key if
// the one in use has come to the end of Stripe's window.
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

// createAnew returns the progress with a fresh creation key, likewise.
func (p progress) createAnew() progress {
	p.create++
	return p
}
