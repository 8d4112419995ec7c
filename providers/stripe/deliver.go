package stripe

import (
	"context"
	"errors"
	"time"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// confirmShare is the part of a delivery's time that must be left for its confirmation: one eighth. To begin it with
// less would likely leave nobody knowing.
const confirmShare = 8

// maxCreates bounds the creation keys that one delivery goes through.
const maxCreates = 4

// Deliver charges once: it creates a PaymentIntent, stores its id by save, and confirms it. If an earlier attempt
// stored one, that is asked for first, and confirmed only while it is unconfirmed and is what the payload asks for.
// ctx must have a deadline, which bounds all calls together. The error is nil or an *outbox.Failure. It is ambiguous
// only if a confirmation was sent and went without a clear answer, or if Stripe does not show what an earlier one
// left.
func (p *Provider) Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	c, f := p.open(in)
	if f != nil {
		return outbox.Receipt{}, f
	}
	latest := latestConfirm(ctx)
	receipt, settled, f := c.prepare(ctx, save)
	if f != nil {
		return outbox.Receipt{}, unasked(f)
	}
	if settled {
		return receipt, nil
	}
	c.state = c.state.confirming(in.Lease.At)
	if err := save(ctx, c.state.document()); err != nil {
		return outbox.Receipt{}, notSaved(err)
	}
	if f := latest.passed(); f != nil {
		return outbox.Receipt{}, f
	}
	receipt, f = c.confirm(ctx, save)
	if f != nil {
		return outbox.Receipt{}, f
	}
	return receipt, nil
}

// prepare makes the state name an unconfirmed PaymentIntent that is what the payload asks for. It takes the stored
// one, one that a forgotten attempt made, or a new one. It may turn out that the money has moved already. It moves
// none itself.
func (c *payment) prepare(ctx context.Context, save func(context.Context, outbox.Progress) error) (outbox.Receipt, bool, *outbox.Failure) {
	if receipt, settled, f := c.retire(ctx); f != nil || settled {
		return receipt, settled, f
	}
	switch {
	case c.state.paymentIntent != "":
		pi, receipt, settled, f := c.ask(ctx)
		if f == nil || f.Code != outbox.CodeCanceled || !c.recorded(pi.ID) {
			return receipt, settled, f
		}
		c.state = c.state.createAnew() // a look-up cancelled it, and a person made the intent pending again
	case mayOutliveKeys(c.in):
		receipt, settled, f := c.search(ctx)
		if f != nil && c.state.paymentIntent != "" {
			_ = save(ctx, c.state.document()) // what cannot be stored is found again
		}
		if f != nil || settled || c.state.paymentIntent != "" {
			return receipt, settled, f
		}
	}
	return c.create(ctx, save)
}

// create makes the PaymentIntent. It moves no money, so its failures are never ambiguous: a PaymentIntent that is
// created and lost stays unconfirmed for ever.
func (c *payment) create(ctx context.Context, save func(context.Context, outbox.Progress) error) (outbox.Receipt, bool, *outbox.Failure) {
	fail := func(f *outbox.Failure) (outbox.Receipt, bool, *outbox.Failure) {
		return outbox.Receipt{}, false, providers.Harmless(f)
	}
	c.state.account = c.charge.Account
	for range maxCreates {
		tracked, call := providers.Track(ctx)
		pi, err := c.intents.New(createParams(tracked, c.in, c.charge, c.state.createKey()))
		f := failure(ctx, call, err, c.charge.Account)
		if f == nil && providers.Token(pi.ID) == "" {
			f = call.Unreadable(ctx, Name)
		}
		if f == nil {
			if kinship(c.in, pi, false) != own {
				return fail(mismatch(call, pi, "labels"))
			}
			if field := difference(c.charge, c.charge.Account, pi); field != "" {
				return fail(mismatch(call, pi, field))
			}
			c.state.paymentIntent = pi.ID
			return outbox.Receipt{}, false, nil
		}
		switch f.Code {
		case outbox.CodeReplayedError:
			// If that cannot be stored, the next attempt meets the replay again and tries again to store it.
			_ = save(ctx, c.state.createAnew().document())
			return fail(f)
		case outbox.CodeKeyReused:
			// The key stands for another request: the payload was changed since, or the document was restored. What
			// that request made is looked for, since it may have been confirmed in a life of which this document
			// knows nothing.
			receipt, settled, found := c.search(ctx)
			if found != nil || settled || c.state.paymentIntent != "" {
				return receipt, settled, found
			}
			c.state = c.state.createAnew()
			if err := save(ctx, c.state.document()); err != nil {
				return fail(notSaved(err))
			}
		default:
			return fail(f)
		}
	}
	return fail(&outbox.Failure{
		Class: outbox.Transient, Code: outbox.CodeConflict, Provider: Name,
		Message: "Stripe knows each of the creation's keys with another request; the next attempt takes further ones",
	})
}

// confirm moves the money.
func (c *payment) confirm(ctx context.Context, save func(context.Context, outbox.Progress) error) (outbox.Receipt, *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	pi, err := c.intents.Confirm(c.state.paymentIntent, confirmParams(tracked, c.charge, c.state.confirmKey()))
	f := failure(ctx, call, err, c.charge.Account)
	if f != nil {
		switch {
		case f.Code == outbox.CodeReplayedError:
			_ = save(ctx, c.state.confirmAnew().document()) // as for a creation
		case leavesDoubt(f):
			return c.afterDoubt(ctx, f)
		}
		return outbox.Receipt{}, f
	}
	if pi.ID != c.state.paymentIntent {
		return outbox.Receipt{}, call.Unreadable(ctx, Name)
	}
	receipt, settled, f := judge(call, pi)
	switch {
	case f != nil || settled:
	case pi.Status == stripe.PaymentIntentStatusRequiresPaymentMethod: // it was tried just now, and the answer lacks the reason
		f = call.Failure(Name, outbox.Permanent, outbox.CodeDeclined, declinedMessage)
	default:
		f = call.Failure(Name, outbox.Ambiguous, outbox.CodeUnclassified, "Stripe accepted the confirmation, and the PaymentIntent is still unconfirmed")
	}
	return receipt, f
}

// afterDoubt asks for the PaymentIntent where the answer to its confirmation was a refusal that may be due to another
// confirmation. If it is unconfirmed all the same, the refusal stands.
func (c *payment) afterDoubt(ctx context.Context, refusal *outbox.Failure) (outbox.Receipt, *outbox.Failure) {
	_, receipt, settled, f := c.ask(ctx)
	switch {
	case settled:
		return receipt, nil
	case f == nil:
		return outbox.Receipt{}, refusal
	case f.Class == outbox.Permanent:
		return outbox.Receipt{}, f
	default:
		refusal.Class, refusal.Code = outbox.Ambiguous, outbox.CodeCannotTell
		refusal.Message = "Stripe refused the confirmation, and the PaymentIntent could not be asked whether another one came before"
		return outbox.Receipt{}, refusal
	}
}

// notACharge is the failure of an intent of another kind: a defect of the wiring.
func notACharge() *outbox.Failure {
	return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected, Provider: Name, Message: "the intent's payload is not a charge"}
}

// notSaved is the failure of a delivery that may not go on to its confirmation: progress could not be stored, or
// whoever stored it says why not.
func notSaved(err error) *outbox.Failure {
	if f, ok := errors.AsType[*outbox.Failure](err); ok {
		return f
	}
	return &outbox.Failure{
		Class: outbox.Transient, Code: outbox.CodeProgressNotSaved, Provider: Name, Cause: err,
		Message: "the PaymentIntent's id could not be stored, so it was not confirmed",
	}
}

// lastMoment is the instant after which a confirmation is not begun; zero if there is none.
type lastMoment time.Time

func latestConfirm(ctx context.Context) lastMoment {
	deadline, ok := ctx.Deadline()
	if !ok {
		return lastMoment{}
	}
	return lastMoment(deadline.Add(-time.Until(deadline) / confirmShare))
}

// passed returns the failure of a delivery that has no time left to confirm.
func (l lastMoment) passed() *outbox.Failure {
	at := time.Time(l)
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	return &outbox.Failure{
		Class: outbox.Transient, Code: outbox.CodeNotSent, Provider: Name,
		Message: "too little time was left to confirm the PaymentIntent, so it was not begun",
	}
}
