package payments

import "github.com/outboxd/outboxd/outbox"

// State is what became of a payment.
type State string

// The states of a payment. In the database there is no processing: see [Payment.Status].
const (
	StatePending    State = "pending"    // accepted; the card is not charged yet
	StateProcessing State = "processing" // the bank has it, and takes its time: a bank debit
	StatePaid       State = "paid"
	StateFailed     State = "failed"   // the customer was not charged
	StateChecking   State = "checking" // nobody knows yet whether the customer was charged
)

// Values of Receipt.Status and Settlement.State. Stripe, "PaymentIntents": status.
const (
	stripeProcessing = "processing"
	stripeSucceeded  = "succeeded"
)

// Status is the payment's state as far as anybody knows. Stripe's word that the money is there counts whatever else was
// written; its word that it is not counts only for the PaymentIntent that is in processing.
func (p *Payment) Status() State {
	switch {
	case p.Settlement != nil && p.Settlement.State == stripeSucceeded:
		return StatePaid
	case p.State == StatePaid && p.Receipt != nil && p.Receipt.Status == stripeProcessing:
		if p.Settlement != nil && p.Settlement.ID == p.Receipt.ID {
			return StateFailed
		}
		return StateProcessing
	case p.State == StateFailed && p.Failure != nil && p.Failure.Reason == string(outbox.ReasonAmbiguous):
		return StateChecking // as older documents have it
	default:
		return p.State
	}
}

// failure says why a failed payment failed, and is nil of every other.
func (p *Payment) failure() *Failure {
	switch {
	case p.Status() != StateFailed:
		return nil
	case p.State == StatePaid: // it failed after its bank had accepted it
		return &Failure{Reason: string(outbox.ReasonPermanent), Code: p.Settlement.Code}
	default:
		return p.Failure
	}
}

// Final reports whether the payment's state can only change by a person's hand.
func (s State) Final() bool { return s == StatePaid || s == StateFailed }

// words say to the customer where the payment stands, and what to do.
func (p *Payment) words() string {
	amount := price(p.Amount, p.Currency)
	switch p.Status() {
	case StatePending:
		return "Your payment is being processed. You do not have to do anything."
	case StateProcessing:
		return "Your bank is working on your payment. This can take a few days. You do not have to do anything."
	case StatePaid:
		return "Thank you. We have received your payment of " + amount + "."
	case StateChecking:
		return "We are checking your payment. Please do not pay again. We tell you as soon as we know."
	default:
		return p.advice()
	}
}

// advice says what the customer can do about a payment that failed.
func (p *Payment) advice() string {
	var f Failure
	if known := p.failure(); known != nil {
		f = *known
	}
	const free = " You have not been charged. "
	switch f.Code {
	case outbox.CodeDeclined:
		return "Your bank declined the payment." + free + "Please use another card, or ask your bank."
	case outbox.CodeActionRequired:
		return "Your bank wants you to confirm this payment." + free + "Please pay again and confirm it with your bank."
	case outbox.CodeCanceled:
		return "The payment was cancelled." + free + "Please pay again if you still want it."
	}
	switch f.Reason {
	case string(outbox.ReasonExpired), string(outbox.ReasonExhausted):
		return "We could not reach our payment provider in time." + free + "Please pay again."
	}
	return "We could not complete your payment." + free + "Please try another card, or contact us."
}
