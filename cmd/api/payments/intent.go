package payments

import (
	"errors"
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Senders are the addresses from which customers hear.
type Senders struct {
	Email string // an address that SendGrid accepts as a sender
	Phone string // a number that Twilio lets this account send from
}

// Validate returns every problem of the senders, joined, or nil.
func (s Senders) Validate() error {
	var errs []error
	if !isEmail(s.Email) {
		errs = append(errs, errors.New("the sender of e-mails is no e-mail address"))
	}
	if !isE164(s.Phone) {
		errs = append(errs, errors.New("the sender of SMS is no number in E.164, such as +15005550006"))
	}
	return errors.Join(errs...)
}

// chargeIntent returns the intent that charges the payment's card, as contract v1 describes it. Its _id derives from the
// payment's, so a payment can have no second one.
func (p *Payment) chargeIntent(from Senders, traceparent, tracestate string) bson.D {
	amount := price(p.Amount, p.Currency)
	payload := bson.D{
		{Key: "amount", Value: p.Amount},
		{Key: "currency", Value: p.Currency},
		{Key: "customer", Value: p.Customer},
		{Key: "payment_method", Value: p.PaymentMethod},
	}
	purpose := ""
	if p.Description != "" {
		payload = append(payload, bson.E{Key: "description", Value: p.Description})
		// By reference: what a customer wrote must not be read as a reference itself.
		purpose = " for ${payload.description}"
	}
	// What follows knows the payment by its id alone: metadata goes to logs and to the providers.
	metadata := bson.D{{Key: "payment_id", Value: p.ID}}
	email := func(subject, text string) bson.D {
		return bson.D{
			{Key: "kind", Value: "email"},
			{Key: "payload", Value: bson.D{{Key: "from", Value: literal(from.Email)}, {Key: "to", Value: literal(p.Email)},
				{Key: "subject", Value: subject}, {Key: "text", Value: text}}},
			{Key: "metadata", Value: metadata},
		}
	}
	intent := bson.D{
		{Key: "_id", Value: "charge:" + p.ID},
		{Key: "kind", Value: "charge"},
		{Key: "status", Value: "pending"},
		{Key: "due_at", Value: p.CreatedAt},
		{Key: "payload", Value: payload},
		{Key: "metadata", Value: metadata},
		{Key: "created_at", Value: p.CreatedAt},
		{Key: "on_done", Value: bson.A{
			email("Receipt: "+amount, "Thank you. We have charged "+amount+purpose+".\n\nPayment: ${metadata.payment_id}\nReference: ${result.id}\n"),
			bson.D{
				{Key: "kind", Value: "sms"},
				{Key: "payload", Value: bson.D{{Key: "from", Value: literal(from.Phone)}, {Key: "to", Value: p.Phone},
					{Key: "body", Value: "Thank you. We have charged " + amount + ". Reference: ${result.id}"}}},
				{Key: "metadata", Value: metadata},
			},
		}},
		{Key: "on_dead", Value: bson.A{
			email("Your payment of "+amount+" failed", "We could not complete your payment of "+amount+purpose+
				". Reason: ${last_error.code}.\n\nPayment: ${metadata.payment_id}\n"),
		}},
		{Key: "write_back", Value: bson.D{
			{Key: "collection", Value: Collection},
			{Key: "id", Value: p.ID},
			{Key: "done", Value: bson.D{
				{Key: "state", Value: StatePaid},
				{Key: "receipt", Value: bson.D{{Key: "provider", Value: "${result.provider}"}, {Key: "id", Value: "${result.id}"}}},
			}},
			{Key: "dead", Value: bson.D{
				{Key: "state", Value: StateFailed},
				{Key: "failure", Value: bson.D{{Key: "reason", Value: "${dead_reason}"}, {Key: "code", Value: "${last_error.code}"}}},
			}},
		}},
	}
	if traceParent.MatchString(traceparent) {
		trace := bson.D{{Key: "traceparent", Value: traceparent}}
		if tracestate != "" && len(tracestate) <= maxTraceState {
			trace = append(trace, bson.E{Key: "tracestate", Value: tracestate})
		}
		intent = append(intent, bson.E{Key: "trace", Value: trace})
	}
	return intent
}

// traceParent and maxTraceState are from the W3C recommendation "Trace Context"; a header that fits neither is left out,
// as the recommendation asks.
var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

const maxTraceState = 512

// literal keeps a text from being read as a reference.
func literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }
