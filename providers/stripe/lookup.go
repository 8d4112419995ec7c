package stripe

import (
	"context"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// LookUp asks for the stored PaymentIntent. Without a stored one nothing was ever confirmed: not found. An unconfirmed
// one is not found either. The error is nil or an *outbox.Failure: permanent if the payment was declined, cancelled or
// needs the customer; everything else means that Stripe could not be asked.
func (p *Provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Receipt, bool, error) {
	charge, ok := in.Payload.(*outbox.Charge)
	if !ok {
		return outbox.Receipt{}, false, notACharge()
	}
	state := load(in)
	if state.paymentIntent == "" {
		return outbox.Receipt{}, false, nil
	}
	receipt, settled, f := p.ask(ctx, charge, state.paymentIntent)
	if f != nil {
		return outbox.Receipt{}, false, f
	}
	return receipt, settled, nil
}

// ask gets a PaymentIntent and judges it: settled with a receipt, unconfirmed (neither), or a failure. The failure is
// permanent only if the PaymentIntent itself says so, never because the question was refused.
func (p *Provider) ask(ctx context.Context, c *outbox.Charge, id string) (outbox.Receipt, bool, *outbox.Failure) {
	tracked, call := providers.Track(ctx)
	pi, err := p.intents.Get(id, retrieveParams(tracked, c))
	if f := failure(ctx, call, err, c.Account); f != nil {
		if f.Class == outbox.Permanent {
			f.Class = outbox.Ambiguous
			f.Code, f.Message = outbox.CodeCannotTell, "Stripe refused to show the stored PaymentIntent"
			if f.HTTPStatus == 404 {
				f.Code, f.Message = outbox.CodeNotFound, "Stripe does not know the stored PaymentIntent; it may belong to another account or mode than the API key"
			}
		}
		return outbox.Receipt{}, false, f
	}
	if pi.ID != id {
		return outbox.Receipt{}, false, call.Unreadable(ctx, Name)
	}
	return judge(call, pi)
}

// unasked is the failure of a delivery that could not ask for the stored PaymentIntent. It has done nothing, so it adds
// no doubt of its own; but a PaymentIntent that Stripe does not show is nothing that another attempt could mend.
func unasked(f *outbox.Failure) *outbox.Failure {
	if f.Code == outbox.CodeNotFound || f.Code == outbox.CodeCannotTell {
		return f
	}
	return providers.Harmless(f)
}

// judge says what a PaymentIntent's state means (Stripe documentation, "How PaymentIntents work").
func judge(call *providers.Call, pi *stripe.PaymentIntent) (receipt outbox.Receipt, settled bool, f *outbox.Failure) {
	permanent := func(code, message string) *outbox.Failure {
		f := call.Failure(Name, outbox.Permanent, code, message)
		f.RequestID = providers.Token(call.Header("Request-Id"))
		return f
	}
	switch pi.Status {
	case stripe.PaymentIntentStatusSucceeded, stripe.PaymentIntentStatusRequiresCapture, stripe.PaymentIntentStatusProcessing:
		return outbox.Receipt{Provider: Name, ID: pi.ID, Status: string(pi.Status)}, true, nil
	case stripe.PaymentIntentStatusRequiresConfirmation:
		return outbox.Receipt{}, false, nil
	case stripe.PaymentIntentStatusRequiresPaymentMethod:
		if pi.LastPaymentError == nil { // never tried
			return outbox.Receipt{}, false, nil
		}
		f := permanent(outbox.CodeDeclined, declinedMessage)
		decline(f, pi.LastPaymentError)
		return outbox.Receipt{}, false, f
	case stripe.PaymentIntentStatusRequiresAction:
		return outbox.Receipt{}, false, permanent(outbox.CodeActionRequired, actionMessage)
	case stripe.PaymentIntentStatusCanceled:
		return outbox.Receipt{}, false, permanent(outbox.CodeCanceled, "the PaymentIntent was cancelled at Stripe")
	default:
		f := call.Failure(Name, outbox.Ambiguous, outbox.CodeUnclassified, "the PaymentIntent is in a state that no rule knows")
		f.ProviderCode = providers.Token(string(pi.Status))
		return outbox.Receipt{}, false, f
	}
}
