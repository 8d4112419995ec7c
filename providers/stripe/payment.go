package stripe

import (
	"context"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// payment is one charge while an attempt or a look-up deals with it.
type payment struct {
	*Provider
	in     *outbox.Intent
	charge *outbox.Charge
	state  progress
	also   []outbox.Record // what was done besides, for history
}

// open begins to deal with a charge; the failure is that of an intent of another kind.
func (p *Provider) open(in *outbox.Intent) (*payment, *outbox.Failure) {
	charge, ok := in.Payload.(*outbox.Charge)
	if !ok {
		return nil, notACharge()
	}
	return &payment{Provider: p, in: in, charge: charge, state: load(in)}, nil
}

// get fetches a PaymentIntent. The failure is never permanent: a refused question says nothing about the charge.
func (c *payment) get(ctx context.Context, account, id string) (*stripe.PaymentIntent, *providers.Call, *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	pi, err := c.intents.Get(id, &stripe.PaymentIntentParams{Params: params(tracked, account, "")})
	if f := failure(ctx, call, err, account); f != nil {
		return nil, call, refusedQuestion(f)
	}
	if pi.ID != id {
		return nil, call, call.Unreadable(ctx, Name)
	}
	return pi, call, nil
}

// refusedQuestion turns the refusal of a question into what it says about the charge: nothing.
func refusedQuestion(f *outbox.Failure) *outbox.Failure {
	if f.Class == outbox.Permanent {
		f.Class = outbox.Ambiguous
		if f.Code == outbox.CodeNotFound {
			f.Message = "Stripe does not know the stored PaymentIntent; it may belong to another account or mode than the API key"
		} else {
			f.Code, f.Message = outbox.CodeCannotTell, "Stripe refused to show the PaymentIntent"
		}
	}
	return f
}

// ask gets the stored PaymentIntent and judges it: settled with a receipt, unconfirmed (neither), or a failure. The
// failure is permanent only if the PaymentIntent itself says so, or is not what the payload asks for.
func (c *payment) ask(ctx context.Context) (pi *stripe.PaymentIntent, receipt outbox.Receipt, settled bool, f *outbox.Failure) {
	pi, call, f := c.get(ctx, c.state.account, c.state.paymentIntent)
	if f != nil {
		return nil, outbox.Receipt{}, false, f
	}
	receipt, settled, f = c.believe(ctx, call, pi)
	return pi, receipt, settled, f
}

// believe judges a PaymentIntent of this generation, once it is sure that it is this intent's and what the payload
// asks for.
func (c *payment) believe(ctx context.Context, call *providers.Call, pi *stripe.PaymentIntent) (outbox.Receipt, bool, *outbox.Failure) {
	if kinship(c.in, pi, c.state.legacy) != own { // it is not ours to touch
		return outbox.Receipt{}, false, mismatch(call, pi, "labels")
	}
	field := difference(c.charge, c.state.account, pi)
	if field == "" || pi.Status == stripe.PaymentIntentStatusCanceled {
		return judge(call, pi)
	}
	// A confirmation may be under way still. What it would take is not what the payload asks for, so that it must not
	// succeed.
	if !charged(pi) {
		if _, _, f := c.end(ctx, c.state.account, pi.ID, "cancel"); f != nil {
			return outbox.Receipt{}, false, f
		}
	}
	return outbox.Receipt{}, false, mismatch(call, pi, field)
}

// mismatch is the failure of a charge whose PaymentIntent is not what the payload asks for.
func mismatch(call *providers.Call, pi *stripe.PaymentIntent, field string) *outbox.Failure {
	message := "the PaymentIntent differs from the payload (" + field + ") and was not confirmed"
	if charged(pi) {
		message = "the PaymentIntent differs from the payload (" + field + "), and it is charged; compare both at Stripe"
	}
	f := call.Failure(Name, outbox.Permanent, outbox.CodeMismatch, message)
	f.ProviderCode = providers.Token(string(pi.Status))
	f.RequestID = providers.Token(call.Header("Request-Id"))
	return f
}

// judge says what a PaymentIntent's state means (Stripe documentation, "How PaymentIntents work").
func judge(call *providers.Call, pi *stripe.PaymentIntent) (receipt outbox.Receipt, settled bool, f *outbox.Failure) {
	permanent := func(code, message string) *outbox.Failure {
		f := call.Failure(Name, outbox.Permanent, code, message)
		f.RequestID = providers.Token(call.Header("Request-Id"))
		return f
	}
	switch {
	case charged(pi):
		return receiptOf(call, pi), true, nil
	case untried(pi):
		return outbox.Receipt{}, false, nil
	case pi.Status == stripe.PaymentIntentStatusRequiresPaymentMethod:
		f := permanent(outbox.CodeDeclined, declinedMessage)
		decline(f, pi.LastPaymentError)
		return outbox.Receipt{}, false, f
	case pi.Status == stripe.PaymentIntentStatusRequiresAction:
		return outbox.Receipt{}, false, permanent(outbox.CodeActionRequired, actionMessage)
	case pi.Status == stripe.PaymentIntentStatusCanceled:
		return outbox.Receipt{}, false, permanent(outbox.CodeCanceled, "the PaymentIntent was cancelled at Stripe")
	default:
		f := call.Failure(Name, outbox.Ambiguous, outbox.CodeUnclassified, "the PaymentIntent is in a state that no rule knows")
		f.ProviderCode = providers.Token(string(pi.Status))
		return outbox.Receipt{}, false, f
	}
}

func receiptOf(call *providers.Call, pi *stripe.PaymentIntent) outbox.Receipt {
	return outbox.Receipt{
		Provider: Name, ID: pi.ID, Status: string(pi.Status),
		RequestID: providers.Token(call.Header("Request-Id")), HTTPStatus: call.Status(),
	}
}

// cannotTell is the failure of a question whose answer settles nothing.
func cannotTell(message string) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, Provider: Name, Message: message}
}
