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

// Deliver charges once: it creates a PaymentIntent, stores its id by save, and confirms it. If an earlier attempt stored
// one, that is asked for first, and confirmed only while it is unconfirmed. ctx must have a deadline, which bounds all
// calls together. The error is nil or an *outbox.Failure; it is ambiguous only if a confirmation was sent and went
// without a clear answer.
func (p *Provider) Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	charge, ok := in.Payload.(*outbox.Charge)
	if !ok {
		return outbox.Receipt{}, notACharge()
	}
	latest := latestConfirm(ctx)
	state := load(in)
	if state.paymentIntent == "" {
		id, f := p.create(ctx, in, charge, state, save)
		if f != nil {
			return outbox.Receipt{}, f
		}
		state.paymentIntent = id
	} else {
		receipt, settled, f := p.ask(ctx, charge, state.paymentIntent)
		if f != nil {
			return outbox.Receipt{}, unasked(f)
		}
		if settled {
			return receipt, nil
		}
	}
	state = state.confirming(in.Lease.At)
	if err := save(ctx, state.document()); err != nil {
		return outbox.Receipt{}, notSaved(err)
	}
	if f := latest.passed(); f != nil {
		return outbox.Receipt{}, f
	}
	receipt, f := p.confirm(ctx, charge, state, save)
	if f != nil {
		return outbox.Receipt{}, f
	}
	return receipt, nil
}

// create makes the PaymentIntent and returns its id. It moves no money, so its failures are never ambiguous: a
// PaymentIntent that is created and lost stays unconfirmed for ever.
func (p *Provider) create(ctx context.Context, in *outbox.Intent, c *outbox.Charge, state progress, save func(context.Context, outbox.Progress) error) (string, *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	pi, err := p.intents.New(createParams(tracked, in, c, state.createKey()))
	f := failure(ctx, call, err, c.Account)
	if f == nil && providers.Token(pi.ID) == "" {
		f = call.Unreadable(ctx, Name)
	}
	if f == nil {
		return pi.ID, nil
	}
	if f.Code == outbox.CodeReplayedError {
		// If that cannot be stored, the next attempt meets the replay again and tries again to store it.
		_ = save(ctx, state.createAnew().document())
	}
	return "", providers.Harmless(f)
}

// confirm moves the money.
func (p *Provider) confirm(ctx context.Context, c *outbox.Charge, state progress, save func(context.Context, outbox.Progress) error) (outbox.Receipt, *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	pi, err := p.intents.Confirm(state.paymentIntent, confirmParams(tracked, c, state.confirmKey()))
	f := failure(ctx, call, err, c.Account)
	if f != nil {
		switch {
		case f.Code == outbox.CodeReplayedError:
			_ = save(ctx, state.confirmAnew().document()) // as for a creation
		case leavesDoubt(f):
			return p.afterDoubt(ctx, c, state, f)
		}
		return outbox.Receipt{}, f
	}
	if pi.ID != state.paymentIntent {
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
func (p *Provider) afterDoubt(ctx context.Context, c *outbox.Charge, state progress, refusal *outbox.Failure) (outbox.Receipt, *outbox.Failure) {
	receipt, settled, f := p.ask(ctx, c, state.paymentIntent)
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

// notSaved is the failure of a delivery that may not go on to its confirmation: progress could not be stored, or whoever
// stored it says why not.
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
