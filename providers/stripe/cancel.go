package stripe

import (
	"context"
	"slices"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// maxCancels bounds the keys that one cancellation goes through. Stripe replays what it stored under a key, a server
// error included, so that each may need a fresh one; a cancellation cannot do its work twice.
const maxCancels = 8

// cancelReason is the reason that Stripe stores with our cancellations.
const cancelReason = string(stripe.PaymentIntentCancellationReasonAbandoned)

// end cancels a PaymentIntent that is surely this intent's and returns what became of it: cancelled, or what it
// turned out to be in place of that. The failure means that nobody knows, and is never permanent.
func (c *payment) end(ctx context.Context, account, id, step string) (*stripe.PaymentIntent, *providers.Call, *outbox.Failure) {
	for n := range maxCancels {
		tracked, call := providers.Track(ctx)
		key := providers.Key(c.in.Key(suffixed(step, ".", int64(n+1))))
		pi, err := c.intents.Cancel(id, &stripe.PaymentIntentCancelParams{Params: params(tracked, account, key), CancellationReason: new(cancelReason)})
		f := failure(ctx, call, err, account)
		switch {
		case f == nil && pi.ID == id && pi.Status == stripe.PaymentIntentStatusCanceled:
			c.also = append(c.also, c.record(call, id))
			return pi, call, nil
		case f == nil:
			return nil, call, call.Unreadable(ctx, Name)
		case call.Header("Idempotent-Replayed") == "true", f.Code == outbox.CodeKeyReused:
			continue
		case f.ProviderCode == codeUnexpectedState: // it was charged or cancelled meanwhile
			return c.get(ctx, account, id)
		}
		return nil, call, refusedCancel(f)
	}
	return nil, nil, cannotTell("Stripe replays a stored error to each cancellation of the PaymentIntent")
}

// refusedCancel is the failure of a cancellation that Stripe refused: the PaymentIntent may still be charged.
func refusedCancel(f *outbox.Failure) *outbox.Failure {
	if f.Class == outbox.Permanent {
		f.Class, f.Code = outbox.Ambiguous, outbox.CodeCannotTell
		f.Message = "Stripe refused to cancel the PaymentIntent, which may still be charged"
	}
	return f
}

// record is what history says of a cancellation. Without a call it is one that an earlier look-up made.
func (c *payment) record(call *providers.Call, id string) outbox.Record {
	r := outbox.Record{What: outbox.WhatCancelAtProvider, At: c.in.Lease.At, Worker: c.in.Lease.Owner, Ref: id}
	if call != nil {
		r.HTTPStatus, r.RequestID = call.Status(), providers.Token(call.Header("Request-Id"))
	}
	return r
}

// recorded reports whether history says that a worker cancelled a PaymentIntent.
func (c *payment) recorded(id string) bool {
	return slices.ContainsFunc(c.in.History, func(r outbox.Record) bool {
		return r.What == outbox.WhatCancelAtProvider && r.Ref == id
	})
}

// retire settles what an earlier generation left: it is cancelled before this generation makes its own, unless it is
// another intent's. If it turns out to be charged, that is this generation's outcome.
func (c *payment) retire(ctx context.Context) (outbox.Receipt, bool, *outbox.Failure) {
	left := c.state.former
	if left == nil {
		return outbox.Receipt{}, false, nil
	}
	pi, call, f := c.get(ctx, left.account, left.id)
	if f != nil {
		return outbox.Receipt{}, false, f
	}
	if k := kinship(c.in, pi, left.legacy); k == stranger || k == unlabelled {
		return outbox.Receipt{}, false, nil
	}
	if pi.Status != stripe.PaymentIntentStatusCanceled && !charged(pi) {
		if pi, call, f = c.end(ctx, left.account, left.id, "retire"); f != nil {
			return outbox.Receipt{}, false, f
		}
	}
	switch {
	case pi.Status == stripe.PaymentIntentStatusCanceled:
		return outbox.Receipt{}, false, nil
	case !charged(pi):
		return outbox.Receipt{}, false, cannotTell("the PaymentIntent of an earlier generation could not be cancelled")
	}
	if field := difference(c.charge, left.account, pi); field != "" {
		return outbox.Receipt{}, false, mismatch(call, pi, field)
	}
	return receiptOf(call, pi), true, nil
}
