package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/outbox"
)

const (
	// StripeHeader carries Stripe's signature: t=<seconds>,v1=<hex>, with several v1 while a secret is rolled over.
	StripeHeader = "Stripe-Signature"
	// stripeTolerance is how far the signed time may be from ours, either way: Stripe's own default.
	stripeTolerance = 5 * time.Minute
)

// VerifyStripe checks that a body was signed with one of the endpoint's secrets, and not long ago.
// Source: Stripe, "Verify webhook signatures manually".
func VerifyStripe(secrets []string, header string, body []byte, now time.Time) error {
	var at string
	var given [][]byte
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			at = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil {
				given = append(given, sum)
			}
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > stripeTolerance {
		return ErrSignature
	}
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(at + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		for _, sum := range given {
			if hmac.Equal(sum, want) {
				return nil
			}
		}
	}
	return ErrSignature
}

var stripeID = regexp.MustCompile(`^[A-Za-z0-9_]{1,100}$`)

var errNoEvent = errors.New("the body is no event of Stripe's")

// ReadStripe reads a verified event. Of an event about anything but a PaymentIntent it returns only id, type and time.
func ReadStripe(body []byte) (payments.ChargeEvent, error) {
	var e struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Created int64  `json:"created"`
		Data    struct {
			Object json.RawMessage `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &e); err != nil || !stripeID.MatchString(e.ID) || e.Created <= 0 || len(e.Type) > 100 {
		return payments.ChargeEvent{}, errNoEvent
	}
	event := payments.ChargeEvent{ID: e.ID, Type: e.Type, At: time.Unix(e.Created, 0).UTC()}
	if !strings.HasPrefix(e.Type, "payment_intent.") {
		return event, nil
	}
	var intent struct {
		ID       string            `json:"id"`
		Amount   int64             `json:"amount"`
		Currency string            `json:"currency"`
		Customer json.RawMessage   `json:"customer"` // an id, or the customer where the endpoint asks for it
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(e.Data.Object, &intent); err != nil || !stripeID.MatchString(intent.ID) {
		return payments.ChargeEvent{}, errNoEvent
	}
	event.PaymentIntent, event.Amount, event.Currency = intent.ID, intent.Amount, intent.Currency
	event.Customer, event.OutboxID, event.Namespace = idOf(intent.Customer), intent.Metadata[outbox.ReservedMetadata], intent.Metadata[outbox.ReservedNamespace]
	return event, nil
}

// idOf reads an id, or the id of an object.
func idOf(raw json.RawMessage) string {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		return id
	}
	var object struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}
	return object.ID
}
