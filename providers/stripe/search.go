package stripe

import (
	"context"
	"encoding/binary"
	"time"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	pageSize = 100 // the most that Stripe lists at once
	maxPages = 10
	// clockSkew is how far Stripe's clock may be behind that of whoever wrote the intent.
	clockSkew = time.Hour
)

// since returns the instant before which the intent cannot have been begun, as far as its document tells: zero if it
// tells nothing.
func since(in *outbox.Intent) time.Time {
	at := in.FirstDueAt
	if in.ID.Type() == outbox.ObjectID {
		if made := time.Unix(int64(binary.BigEndian.Uint32(in.ID.Bytes())), 0); made.After(at) {
			at = made
		}
	}
	return at
}

// mayOutliveKeys reports whether an earlier life of the intent, of which a restored document knows nothing, may have
// begun it under keys that Stripe has forgotten.
func mayOutliveKeys(in *outbox.Intent) bool { return in.Lease.At.Sub(since(in)) >= keyWindow }

// search lists the customer's PaymentIntents for what an earlier life of the intent made. It finds one that is
// charged, with its receipt, or one that is not, which becomes the stored one and is judged. Nothing is found for
// certain only if the list was read to its end. What is ours and not what the payload asks for is cancelled first.
func (c *payment) search(ctx context.Context) (outbox.Receipt, bool, *outbox.Failure) {
	var mine *stripe.PaymentIntent
	var call *providers.Call
	after := ""
	for range maxPages {
		page, more, pageCall, f := c.page(ctx, after)
		if f != nil {
			return outbox.Receipt{}, false, f
		}
		call = pageCall
		for _, pi := range page {
			after = pi.ID
			k := kinship(c.in, pi, c.state.legacy)
			switch {
			case k == stranger || pi.Status == stripe.PaymentIntentStatusCanceled:
			case charged(pi) && (k == own || k == later):
				if field := difference(c.charge, c.charge.Account, pi); field != "" {
					return outbox.Receipt{}, false, mismatch(call, pi, field)
				}
				return receiptOf(call, pi), true, nil
			case charged(pi) && k == earlier:
				return outbox.Receipt{}, false, cannotTell("Stripe shows a charge of an earlier generation of this intent, which nothing was known of")
			case charged(pi):
				return outbox.Receipt{}, false, cannotTell("Stripe shows a charge with this outbox_id and without a namespace, made by older code for this intent or for another outbox")
			case k == own && mine == nil:
				mine = pi
			}
		}
		if !more || after == "" {
			return c.adopt(ctx, call, mine)
		}
	}
	return outbox.Receipt{}, false, cannotTell("the customer has too many PaymentIntents at Stripe to compare each")
}

// adopt goes on with a PaymentIntent that the search has found; there may be none.
func (c *payment) adopt(ctx context.Context, call *providers.Call, pi *stripe.PaymentIntent) (outbox.Receipt, bool, *outbox.Failure) {
	if pi == nil {
		return outbox.Receipt{}, false, nil
	}
	c.state.account = c.charge.Account
	if difference(c.charge, c.charge.Account, pi) == "" {
		c.state.paymentIntent = pi.ID
		return judge(call, pi)
	}
	ended, call, f := c.end(ctx, c.charge.Account, pi.ID, "cancel")
	switch {
	case f != nil:
		return outbox.Receipt{}, false, f
	case ended.Status == stripe.PaymentIntentStatusCanceled:
		c.state = c.state.createAnew()
		return outbox.Receipt{}, false, nil
	default:
		return outbox.Receipt{}, false, mismatch(call, ended, difference(c.charge, c.charge.Account, ended))
	}
}

// page lists some of the customer's PaymentIntents, newest first, from the one after the given id on.
func (c *payment) page(ctx context.Context, after string) (list []*stripe.PaymentIntent, more bool, call *providers.Call, f *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	p := &stripe.PaymentIntentListParams{
		ListParams: stripe.ListParams{Context: tracked, Limit: new(int64(pageSize)), Single: true, StartingAfter: optional(after), StripeAccount: optional(c.charge.Account)},
		Customer:   new(c.charge.Customer),
	}
	if at := since(c.in); !at.IsZero() {
		p.CreatedRange = &stripe.RangeQueryParams{GreaterThanOrEqual: at.Add(-clockSkew).Unix()}
	}
	answer := c.intents.List(p)
	if f := failure(ctx, call, answer.Err(), c.charge.Account); f != nil {
		return nil, false, call, refusedQuestion(f)
	}
	found := answer.PaymentIntentList()
	if found == nil || found.Data == nil { // an empty list is a list; no list is no answer
		return nil, false, call, call.Unreadable(ctx, Name)
	}
	for _, pi := range found.Data {
		if pi == nil || pi.ID == "" {
			return nil, false, call, call.Unreadable(ctx, Name)
		}
	}
	return found.Data, found.HasMore, call, nil
}
