package payments

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Receipts is the collection of Stripe's and Twilio's webhooks that were taken: documents {_id, what, payment, at},
// without anything of a customer, kept for 30 days.
const Receipts = "webhook_receipts"

// Ranks of a provider's reports about a message. Reports may overtake each other; only a higher rank is news. A bounce
// can follow a delivery: a mail server may take an e-mail and return it later.
const (
	rankTaken = iota + 1
	rankOnItsWay
	rankDelivered
	rankFailed
)

// ranks are the words of SendGrid ("Event Webhook Reference") and Twilio ("Message status values"). Others tell nothing
// of the delivery.
func ranks(event string) int {
	switch event {
	case "processed", "accepted", "scheduled", "queued", "sending":
		return rankTaken
	case "deferred", "sent":
		return rankOnItsWay
	case "delivered", "read":
		return rankDelivered
	case "bounce", "dropped", "undelivered", "failed":
		return rankFailed
	}
	return 0
}

const (
	chargePrefix   = "charge:"   // of a charge's _id, before the payment's
	reversalPrefix = "reversal:" // of the _id of the message about a reversal
)

// messageOf tells which message of which payment an intent is, by the outbox_id that the provider knows it by, such as
// charge:pay_x:done:1.
func messageOf(outboxID, channel string) (payment string, m Message, ok bool) {
	if id, isReversal := strings.CutPrefix(outboxID, reversalPrefix); isReversal {
		id, _, _ = strings.Cut(id, ":")
		return id, ReversalEmail, channel == "email" && IsID(id)
	}
	rest, isCharge := strings.CutPrefix(outboxID, chargePrefix)
	parts := strings.Split(rest, ":")
	if !isCharge || len(parts) < 3 || !IsID(parts[0]) {
		return "", "", false
	}
	switch {
	case parts[1] == "done" && channel == "sms":
		return parts[0], ReceiptSMS, true
	case parts[1] == "done":
		return parts[0], ReceiptEmail, true
	case parts[1] == "dead" && channel == "email" && parts[2] == "0":
		return parts[0], FailureEmail, true
	case parts[1] == "dead" && channel == "email" && parts[2] == "1":
		return parts[0], CheckingEmail, true
	}
	return "", "", false
}

// deliveryUpdate is the write that a report stands for, if it is one about a message of ours.
func deliveryUpdate(outboxID, channel, event string, at time.Time) (*mongo.UpdateOneModel, bool) {
	payment, m, ok := messageOf(outboxID, channel)
	rank := ranks(event)
	if !ok || rank == 0 {
		return nil, false
	}
	field := "delivery." + string(m) + "."
	return mongo.NewUpdateOneModel().
		SetFilter(bson.D{{Key: "_id", Value: payment}, {Key: field + "rank", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: rank}}}}}}).
		SetUpdate(bson.D{{Key: "$set", Value: bson.D{
			{Key: field + "event", Value: event}, {Key: field + "event_at", Value: at}, {Key: field + "rank", Value: rank},
		}}}), true
}

// namespace returns whether a label outbox_ns is that of this outbox. A copy of the database, for tests say, has the
// same payments and may use the same account at a provider; what becomes of its messages is not ours.
func (s *Service) namespace(ctx context.Context) (ours func(string) bool, err error) {
	own, err := s.schema.Namespace(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the outbox's namespace: %w", err)
	}
	return func(label string) bool { return label == "" || label == own }, nil
}

// SMSReport is a status callback of Twilio's about the text of an intent.
type SMSReport struct {
	MessageID string // Twilio's
	OutboxID  string
	Namespace string // of the outbox that the intent is in; empty of an older intent
	Status    string
}

// ReportSMS stores a report once, and writes on the payment what it tells. Repeating it is harmless.
func (s *Service) ReportSMS(ctx context.Context, r SMSReport) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	now := time.Now().UTC()
	payment, _, _ := messageOf(r.OutboxID, "sms")
	if err := s.keepReceipt(ctx, "twilio:"+r.MessageID+":"+r.Status, r.Status, payment, now); err != nil {
		return err
	}
	ours, err := s.namespace(ctx)
	if err != nil {
		return err
	}
	update, ok := deliveryUpdate(r.OutboxID, "sms", r.Status, now)
	if !ok || !ours(r.Namespace) {
		return nil
	}
	if _, err := s.payments.UpdateOne(ctx, update.Filter, update.Update); err != nil {
		return fmt.Errorf("write a report about a text on its payment: %w", err)
	}
	return nil
}

// keepReceipt stores that a webhook was taken. One that is there already stays as it is.
func (s *Service) keepReceipt(ctx context.Context, id, what, payment string, at time.Time) error {
	doc := bson.D{{Key: "what", Value: what}, {Key: "at", Value: at}}
	if payment != "" {
		doc = append(doc, bson.E{Key: "payment", Value: payment})
	}
	_, err := s.receipts.UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$setOnInsert", Value: doc}}, options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) { // two at once: one of them has stored it
		return nil
	}
	if err != nil {
		return fmt.Errorf("store the receipt of a webhook in %s: %w", Receipts, err)
	}
	return nil
}
