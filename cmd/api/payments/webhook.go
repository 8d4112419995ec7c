package payments

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Events is the collection of what SendGrid's Event Webhook told about e-mails: documents
// {_id, outbox_id, outbox_ns, outbox_key, event, sg_message_id, at}, without an address, kept for 30 days from at, the event's own time.
const Events = "email_events"

const (
	pathEvents = "/webhooks/sendgrid"
	// maxEvents bounds a batch, in bytes. SendGrid posts as soon as it has 768 KB (SendGrid, "Event Webhook Overview").
	maxEvents = 2 << 20
	// maxOutboxID bounds an outbox_id, in bytes; an intent's id is shorter.
	maxOutboxID = 1024
	// keepEvents is as long as SendGrid keeps its own log (SendGrid, "Email Logs").
	keepEvents = 30 * 24 * time.Hour
)

// ParseWebhookKey reads the public key of a signed Event Webhook as SendGrid's settings show it: base64 of a
// SubjectPublicKeyInfo (SendGrid, "Getting Started with the Event Webhook Security Features"). The error never repeats it.
func ParseWebhookKey(text string) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64; copy the verification key from SendGrid's mail settings, \"Event Webhook\"")
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("is no ECDSA public key; copy the verification key from SendGrid's mail settings, \"Event Webhook\"")
	}
	return key, nil
}

// emailEvent is one entry of the collection [Events].
type emailEvent struct {
	ID        string    `bson:"_id"`
	OutboxID  string    `bson:"outbox_id"`
	Namespace string    `bson:"outbox_ns,omitempty"`
	Key       string    `bson:"outbox_key,omitempty"`
	Event     string    `bson:"event"`
	MessageID string    `bson:"sg_message_id"`
	At        time.Time `bson:"at"`
}

// events takes a batch of SendGrid's Event Webhook. It answers 204 only once all of it is stored: SendGrid repeats a batch
// for 24 hours until it gets a 2xx.
func (a *App) events(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvents))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &transport{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must have at most %d bytes", maxEvents)}
		}
		return &transport{http.StatusBadRequest, "the body ended before its end"}
	}
	signature, timestamp := r.Header.Get(eventwebhook.VerificationHTTPHeader), r.Header.Get(eventwebhook.TimestampHTTPHeader)
	// A batch that is played back is stored already: the timestamp needs no bound.
	if genuine, err := eventwebhook.VerifySignature(a.cfg.WebhookKey, body, signature, timestamp); err != nil || !genuine {
		return &transport{http.StatusForbidden, "the signature is missing or does not fit the body"}
	}
	var batch []map[string]json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil {
		return &transport{http.StatusBadRequest, "the body must be a JSON array of events"}
	}
	if err := a.storeEvents(r.Context(), batch); err != nil {
		w.Header().Set("Retry-After", retryAfter)
		return fmt.Errorf("%w: %w", &transport{http.StatusServiceUnavailable, "the events could not be stored; post them again"}, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// storeEvents writes those events that are of intents. What is there already stays as it is.
func (a *App) storeEvents(ctx context.Context, batch []map[string]json.RawMessage) error {
	var writes []mongo.WriteModel
	for _, fields := range batch {
		e, ok := readEvent(fields)
		if !ok {
			continue
		}
		writes = append(writes, mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: e.ID}}).SetUpsert(true).
			SetUpdate(bson.D{{Key: "$setOnInsert", Value: e.labelled(bson.D{
				{Key: "outbox_id", Value: e.OutboxID}, {Key: "event", Value: e.Event},
				{Key: "sg_message_id", Value: e.MessageID}, {Key: "at", Value: e.At},
			})}}))
	}
	if len(writes) == 0 {
		return nil
	}
	if _, err := a.emails.BulkWrite(ctx, writes, options.BulkWrite().SetOrdered(false)); err != nil {
		return fmt.Errorf("store %d events of e-mails in %s: %w", len(writes), Events, err)
	}
	return nil
}

// labelled adds those labels besides outbox_id that the event has.
func (e emailEvent) labelled(doc bson.D) bson.D {
	if e.Namespace != "" {
		doc = append(doc, bson.E{Key: outbox.ReservedNamespace, Value: e.Namespace})
	}
	if e.Key != "" {
		doc = append(doc, bson.E{Key: outbox.ReservedKey, Value: e.Key})
	}
	return doc
}

// readEvent takes from an event what is kept of it. Events of e-mails that no intent stands for, and what SendGrid does
// not write, are none. Names are compared exactly: custom arguments stand beside SendGrid's own fields.
func readEvent(fields map[string]json.RawMessage) (emailEvent, bool) {
	text := func(name string) string {
		var s string
		if json.Unmarshal(fields[name], &s) != nil {
			return ""
		}
		return s
	}
	e := emailEvent{
		OutboxID:  text(outbox.ReservedMetadata),
		Namespace: providers.Token(text(outbox.ReservedNamespace)),
		Key:       providers.Token(text(outbox.ReservedKey)),
		Event:     providers.Token(text("event")),
		MessageID: providers.Token(text("sg_message_id")),
	}
	var seconds int64
	if json.Unmarshal(fields["timestamp"], &seconds) != nil || seconds <= 0 || e.Event == "" || e.OutboxID == "" || len(e.OutboxID) > maxOutboxID {
		return emailEvent{}, false
	}
	e.At = time.Unix(seconds, 0)
	id := text("sg_event_id")
	if e.ID = providers.Token(id); e.ID == "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d", id, e.OutboxID, e.Event, e.MessageID, seconds))
		e.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	return e, true
}

// prepareEvents creates the indexes of [Events], and with them the collection.
func (a *App) prepareEvents(ctx context.Context) error {
	_, err := a.emails.Indexes().CreateMany(ctx, []mongo.IndexModel{
		{Keys: bson.D{{Key: "outbox_id", Value: 1}, {Key: "at", Value: 1}}, Options: options.Index().SetName("outbox_id")},
		{Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetName("kept").SetExpireAfterSeconds(int32(keepEvents / time.Second))},
	})
	if err != nil {
		return fmt.Errorf("create the indexes of %s.%s: %w", a.cfg.Database.Name(), Events, err)
	}
	return nil
}
