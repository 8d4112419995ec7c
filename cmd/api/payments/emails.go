package payments

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// Events is the collection of what SendGrid's Event Webhook told about e-mails: documents
// {_id, outbox_id, outbox_ns, outbox_key, event, sg_message_id, at}, without an address, kept for 30 days from at, the
// event's own time. A worker can look there (OUTBOXD_EMAIL_EVENTS).
const Events = "email_events"

// EmailEvent is one event of SendGrid's about the e-mail of an intent.
type EmailEvent struct {
	ID        string // SendGrid's, or one made from all it says
	OutboxID  string
	Namespace string // of the outbox that the intent is in; empty of an older intent
	Key       string // the label outbox_key
	Event     string
	MessageID string // SendGrid's
	At        time.Time
}

// document is the event as it is stored. Labels that it does not have are left out.
func (e EmailEvent) document() bson.D {
	doc := bson.D{{Key: outbox.ReservedMetadata, Value: e.OutboxID}}
	if e.Namespace != "" {
		doc = append(doc, bson.E{Key: outbox.ReservedNamespace, Value: e.Namespace})
	}
	if e.Key != "" {
		doc = append(doc, bson.E{Key: outbox.ReservedKey, Value: e.Key})
	}
	return append(doc, bson.E{Key: "event", Value: e.Event}, bson.E{Key: "sg_message_id", Value: e.MessageID}, bson.E{Key: "at", Value: e.At})
}

// ReportEmails stores events, each once, and writes on the payments what they tell of their messages. Repeating it is
// harmless. After an error some may be stored: report them again.
func (s *Service) ReportEmails(ctx context.Context, events []EmailEvent) error {
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	ours, err := s.namespace(ctx)
	if err != nil {
		return err
	}
	var stored, told []mongo.WriteModel
	for _, e := range events {
		stored = append(stored, mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: e.ID}}).SetUpsert(true).
			SetUpdate(bson.D{{Key: "$setOnInsert", Value: e.document()}}))
		if update, ok := deliveryUpdate(e.OutboxID, "email", e.Event, e.At); ok && ours(e.Namespace) {
			told = append(told, update)
		}
	}
	unordered := options.BulkWrite().SetOrdered(false)
	if _, err := s.emails.BulkWrite(ctx, stored, unordered); err != nil {
		return fmt.Errorf("store %d events of e-mails in %s: %w", len(stored), Events, err)
	}
	if len(told) == 0 {
		return nil
	}
	if _, err := s.payments.BulkWrite(ctx, told, unordered); err != nil {
		return fmt.Errorf("write %d events of e-mails on their payments: %w", len(told), err)
	}
	return nil
}
