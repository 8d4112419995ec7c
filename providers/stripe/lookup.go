package stripe

import (
	"context"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// LookUp settles what earlier attempts left, before the charge is given up. A PaymentIntent that is charged is found.
// An unconfirmed one is cancelled, so that no confirmation that is still under way can charge it. Then the absence is
// certain. If none was ever stored, it is certain as well, because only a stored one is confirmed. The error is nil
// or an *outbox.Failure: permanent if the payment was declined, cancelled by somebody else, needs the customer, or is
// not what the payload asks for. Every other failure means that nobody knows.
func (p *Provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error) {
	c, f := p.open(in)
	if f != nil {
		return outbox.Answer{}, f
	}
	answer, f := c.lookUp(ctx)
	answer.Also = c.also
	if f != nil {
		return answer, f
	}
	return answer, nil
}

func (c *payment) lookUp(ctx context.Context) (outbox.Answer, *outbox.Failure) {
	found := func(r outbox.Receipt) (outbox.Answer, *outbox.Failure) {
		return outbox.Answer{Receipt: r, Found: true}, nil
	}
	never := outbox.Answer{Certain: true}
	if receipt, settled, f := c.retire(ctx); f != nil {
		return outbox.Answer{}, f
	} else if settled {
		return found(receipt)
	}
	if c.state.paymentIntent == "" && mayOutliveKeys(c.in) {
		if receipt, settled, f := c.search(ctx); f != nil {
			return outbox.Answer{}, f
		} else if settled {
			return found(receipt)
		}
	}
	if c.state.paymentIntent == "" {
		return never, nil
	}
	pi, receipt, settled, f := c.ask(ctx)
	switch {
	case f != nil && f.Code == outbox.CodeCanceled && c.endedByUs(pi):
		return never, nil
	case f != nil:
		return outbox.Answer{}, f
	case settled:
		return found(receipt)
	}
	pi, call, f := c.end(ctx, c.state.account, c.state.paymentIntent, "cancel")
	if f != nil {
		return outbox.Answer{}, f
	}
	if pi.Status == stripe.PaymentIntentStatusCanceled {
		return never, nil
	}
	receipt, settled, f = judge(call, pi)
	switch {
	case settled:
		return found(receipt)
	case f == nil:
		f = cannotTell("Stripe does not cancel the PaymentIntent, which is still unconfirmed")
	}
	return outbox.Answer{}, f
}

// endedByUs reports whether a cancelled PaymentIntent is one that a look-up cancelled. A look-up whose outcome was
// lost left no record, which is made up for.
func (c *payment) endedByUs(pi *stripe.PaymentIntent) bool {
	switch {
	case c.recorded(pi.ID):
		return true
	case string(pi.CancellationReason) == cancelReason:
		c.also = append(c.also, c.record(nil, pi.ID))
		return true
	default:
		return false
	}
}

// unasked is the failure of a delivery that could not ask for a PaymentIntent. It has done nothing, so it adds no
// doubt of its own; but what Stripe does not show, another attempt cannot mend.
func unasked(f *outbox.Failure) *outbox.Failure {
	if f.Code == outbox.CodeNotFound || f.Code == outbox.CodeCannotTell {
		return f
	}
	return providers.Harmless(f)
}
