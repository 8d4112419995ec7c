package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/sendgrid"
)

// eventsTimeout bounds the question, which must leave the look-up its time for SendGrid's log.
const eventsTimeout = 2 * time.Second

// events are entries of SendGrid's Event Webhook in a collection.
type events struct {
	in  *mongo.Collection
	log *slog.Logger
}

// EmailEvents returns the entries in a collection, nil if it has no name.
func EmailEvents(db *mongo.Database, collection string, log *slog.Logger) sendgrid.Events {
	if collection == "" {
		return nil
	}
	return events{db.Collection(collection), log}
}

// Accepted looks for what SendGrid wrote while it handled the e-mail (SendGrid, "Event Webhook Reference": delivery
// events). What a reader does with an e-mail may come much later than its acceptance, and counts for nothing here: it
// could be about an earlier intent of the same id.
func (e events) Accepted(ctx context.Context, labels map[string]string, since time.Time) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	var entry struct {
		MessageID string `bson:"sg_message_id"`
	}
	filter := bson.D{
		{Key: "at", Value: bson.D{{Key: "$gte", Value: since}}},
		{Key: "event", Value: bson.D{{Key: "$in", Value: bson.A{"processed", "deferred", "delivered", "bounce", "dropped"}}}},
	}
	for name, value := range labels {
		if value == "" { // it was not sent
			filter = append(filter, bson.E{Key: name, Value: nil})
		} else {
			filter = append(filter, bson.E{Key: name, Value: value})
		}
	}
	err := e.in.FindOne(ctx, filter, options.FindOne().SetProjection(bson.D{{Key: "sg_message_id", Value: 1}})).Decode(&entry)
	switch {
	case err == nil:
		return entry.MessageID, true
	case !errors.Is(err, mongo.ErrNoDocuments):
		// The driver's text could hold a value of the entry.
		e.log.Warn("the stored events of e-mails cannot be read; SendGrid's log is asked instead", "intent", labels[outbox.ReservedMetadata],
			"collection", e.in.Name(), "timeout", mongo.IsTimeout(err))
	}
	return "", false
}
