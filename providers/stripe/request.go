package stripe

import (
	"context"
	"strings"
	"unicode/utf8"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Limits of metadata (Stripe API reference, "Metadata").
const (
	maxMetadataKeys  = 50
	maxMetadataKey   = 40  // characters; square brackets are not allowed
	maxMetadataValue = 500 // characters
)

// Every parameter follows from the intent's document alone, which is frozen: Stripe refuses a key that comes back with
// other parameters.

func params(ctx context.Context, account, key string) stripe.Params {
	p := stripe.Params{Context: ctx}
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	if account != "" {
		p.SetStripeAccount(account)
	}
	return p
}

func createParams(ctx context.Context, in *outbox.Intent, c *outbox.Charge, key string) *stripe.PaymentIntentParams {
	p := &stripe.PaymentIntentParams{
		Params:                    params(ctx, c.Account, key),
		Amount:                    new(c.Amount),
		Currency:                  new(c.Currency),
		Customer:                  new(c.Customer),
		PaymentMethod:             new(c.PaymentMethod),
		Description:               optional(c.Description),
		ReceiptEmail:              optional(c.ReceiptEmail),
		StatementDescriptorSuffix: optional(c.StatementDescriptorSuffix),
	}
	p.Metadata = metadata(in, c)
	return p
}

// confirmParams names the payment method again, which keeps the confirmation from taking whatever else the
// PaymentIntent may hold by then. Nobody is there to authenticate: what needs it shall fail at once instead of
// waiting.
func confirmParams(ctx context.Context, c *outbox.Charge, key string) *stripe.PaymentIntentConfirmParams {
	return &stripe.PaymentIntentConfirmParams{
		Params:                params(ctx, c.Account, key),
		PaymentMethod:         new(c.PaymentMethod),
		OffSession:            new(true),
		ErrorOnRequiresAction: new(true),
	}
}

// metadata carries the intent's labels, the payload's metadata and, as far as there is room, the intent's.
func metadata(in *outbox.Intent, c *outbox.Charge) map[string]string {
	n := 0
	return providers.Labels(in, func(name, value string) (string, bool) {
		if n == maxMetadataKeys || value == "" || name == "" ||
			utf8.RuneCountInString(name) > maxMetadataKey || strings.ContainsAny(name, "[]") {
			return "", false
		}
		n++
		return cut(value, maxMetadataValue), true
	}, c.Metadata, in.Metadata)
}

// cut keeps the first n characters of a text.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
