package payments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// ChargeEvent is an event of Stripe's about the PaymentIntent of a charge.
type ChargeEvent struct {
	ID            string // Stripe's, of the event
	Type          string // such as payment_intent.succeeded
	At            time.Time
	PaymentIntent string
	OutboxID      string // of its metadata
	Namespace     string // of its metadata; empty of an older intent
	Amount        int64
	Currency      string
	Customer      string
}

// ends are the events of Stripe by which a PaymentIntent has ended, and the words for that in Settlement.State.
var ends = map[string]string{
	"payment_intent.succeeded":      stripeSucceeded,
	"payment_intent.payment_failed": "failed",
	"payment_intent.canceled":       "canceled",
}

// endCodes are the codes of the bad ends, in the outbox's words.
var endCodes = map[string]string{"failed": outbox.CodeDeclined, "canceled": outbox.CodeCanceled}

// ReportCharge stores an event once, and writes on the payment how its PaymentIntent ended. Repeating it is harmless.
//
// Most charges have ended by then, and the event tells nothing new. A bank debit has not: Stripe has accepted it, and
// its event days later is the first to know. Where that one failed, the message to the customer is an intent, inserted
// in the same transaction.
func (s *Service) ReportCharge(ctx context.Context, e ChargeEvent) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	payment, ours := strings.CutPrefix(e.OutboxID, chargePrefix)
	ours = ours && IsID(payment)
	if !ours {
		payment = ""
	}
	if err := s.keepReceipt(ctx, "stripe:"+e.ID, e.Type, payment, e.At); err != nil {
		return err
	}
	same, err := s.namespace(ctx)
	if err != nil {
		return err
	}
	end := ends[e.Type]
	if end == "" || !ours || !same(e.Namespace) {
		return nil
	}
	err = s.transaction(ctx, func(ctx context.Context) error { return s.settle(ctx, payment, end, e) })
	if err != nil {
		return fmt.Errorf("write how a charge ended on its payment: %w", err)
	}
	return nil
}

// settle writes the end, and the intent that tells the customer of a bad one.
func (s *Service) settle(ctx context.Context, payment, end string, e ChargeEvent) error {
	var p Payment
	// What an event says of a payment is believed only where it is about this very payment.
	filter := bson.D{
		{Key: "_id", Value: payment}, {Key: "amount", Value: e.Amount}, {Key: "currency", Value: e.Currency}, {Key: "customer", Value: e.Customer},
		{Key: "settlement.state", Value: bson.D{{Key: "$ne", Value: stripeSucceeded}}},
	}
	if end != stripeSucceeded { // of one PaymentIntent's bad ends the first counts; a good end always does
		filter = append(filter, bson.E{Key: "settlement.id", Value: bson.D{{Key: "$ne", Value: e.PaymentIntent}}})
	}
	set := Settlement{State: end, ID: e.PaymentIntent, At: e.At, Code: endCodes[end]}
	err := s.payments.FindOneAndUpdate(ctx, filter, bson.D{{Key: "$set", Value: bson.D{{Key: "settlement", Value: set}}}},
		options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&p)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments): // told before, or not about this payment
		return nil
	case err != nil:
		return err
	}
	if p.State != StatePaid || p.Status() != StateFailed || p.Email == "" {
		return nil
	}
	_, err = s.outbox.InsertOne(ctx, p.reversalIntent(s.cfg.Senders))
	return err
}

// reversalIntent tells the customer that a payment which their bank had accepted did not arrive.
func (p *Payment) reversalIntent(from Senders) bson.D {
	now := time.Now().UTC()
	amount := price(p.Amount, p.Currency)
	return bson.D{
		{Key: "_id", Value: reversalPrefix + p.ID + ":" + p.Settlement.ID},
		{Key: "kind", Value: "email"},
		{Key: "status", Value: "pending"},
		{Key: "due_at", Value: now},
		{Key: "created_at", Value: now},
		{Key: "expires_at", Value: now.Add(receiptLife)},
		{Key: "metadata", Value: p.metadata()},
		{Key: "write_back", Value: p.became(ReversalEmail)},
		// No references here, so nothing of it is literal: those are resolved in follow-ups alone.
		{Key: "payload", Value: bson.D{
			{Key: "from", Value: from.Email}, {Key: "to", Value: p.Email},
			{Key: "subject", Value: "Your payment of " + amount + " did not arrive"},
			{Key: "text", Value: "Your bank accepted your payment of " + amount + ", but did not complete it. You have not been charged. " +
				"Please pay again, with another payment method.\n\nPayment: " + p.ID + "\n"},
		}},
	}
}
