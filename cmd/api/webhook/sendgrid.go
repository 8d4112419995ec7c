package webhook

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Headers of a signed batch of SendGrid's Event Webhook.
const (
	SendGridSignatureHeader = eventwebhook.VerificationHTTPHeader
	SendGridTimestampHeader = eventwebhook.TimestampHTTPHeader
)

// ParseSendGridKey reads the public key of a signed Event Webhook as SendGrid's settings show it: base64 of a
// SubjectPublicKeyInfo (SendGrid, "Getting Started with the Event Webhook Security Features"). The error never repeats
// it.
func ParseSendGridKey(text string) (*ecdsa.PublicKey, error) {
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

// VerifySendGrid checks that a batch was signed with the key. Its timestamp needs no bound: what is played back is
// stored already.
func VerifySendGrid(key *ecdsa.PublicKey, signature, timestamp string, body []byte) error {
	if genuine, err := eventwebhook.VerifySignature(key, body, signature, timestamp); err != nil || !genuine {
		return ErrSignature
	}
	return nil
}

// ReadSendGrid reads a verified batch. It leaves out events of e-mails that no intent stands for, and what SendGrid
// does not write.
func ReadSendGrid(body []byte) ([]payments.EmailEvent, error) {
	var batch []map[string]json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, errors.New("the body must be a JSON array of events")
	}
	var events []payments.EmailEvent
	for _, fields := range batch {
		if e, ok := readEvent(fields); ok {
			events = append(events, e)
		}
	}
	return events, nil
}

// readEvent takes from an event what is kept of it, which is never an address. Names are compared exactly: custom
// arguments stand beside SendGrid's own fields.
func readEvent(fields map[string]json.RawMessage) (payments.EmailEvent, bool) {
	text := func(name string) string {
		var s string
		if json.Unmarshal(fields[name], &s) != nil {
			return ""
		}
		return s
	}
	e := payments.EmailEvent{
		OutboxID:  text(outbox.ReservedMetadata),
		Namespace: providers.Token(text(outbox.ReservedNamespace)),
		Key:       providers.Token(text(outbox.ReservedKey)),
		Event:     providers.Token(text("event")),
		MessageID: providers.Token(text("sg_message_id")),
	}
	var seconds int64
	if json.Unmarshal(fields["timestamp"], &seconds) != nil || seconds <= 0 || e.Event == "" || e.OutboxID == "" || len(e.OutboxID) > maxOutboxID {
		return payments.EmailEvent{}, false
	}
	e.At = time.Unix(seconds, 0)
	id := text("sg_event_id")
	if e.ID = providers.Token(id); e.ID == "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d", id, e.OutboxID, e.Event, e.MessageID, seconds))
		e.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	return e, true
}
