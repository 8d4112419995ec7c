package payments

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// Senders are the addresses from which customers hear.
type Senders struct {
	Email string // an address that SendGrid accepts as a sender
	Phone string // a number that Twilio lets this account send from
}

// Validate returns every problem of the senders, joined, or nil.
func (s Senders) Validate() error {
	var errs []error
	for _, f := range Fields() {
		switch {
		case f.Name == "email" && !f.accepts(s.Email):
			errs = append(errs, errors.New("the sender of e-mails is no e-mail address"))
		case f.Name == "phone" && !f.accepts(s.Phone):
			errs = append(errs, errors.New("the sender of SMS is no number in E.164, such as +15005550006"))
		}
	}
	return errors.Join(errs...)
}

// receiptLife is how long after the order a message about it is still worth sending. It is longer than a worker tries
// to charge (retry.give_up, 72 h), so that a late charge has its receipt.
const receiptLife = 4 * 24 * time.Hour

// chargeIntent returns the intent that charges the payment's card, as contract v1 describes it. Its _id derives from
// the payment's, so a payment can have no second one.
func (p *Payment) chargeIntent(from Senders, trace Trace) bson.D {
	payload := bson.D{
		{Key: "amount", Value: p.Amount},
		{Key: "currency", Value: p.Currency},
		{Key: "customer", Value: p.Customer},
		{Key: "payment_method", Value: p.PaymentMethod},
	}
	if p.Description != "" {
		payload = append(payload, bson.E{Key: "description", Value: p.Description})
	}
	intent := bson.D{
		{Key: "_id", Value: chargePrefix + p.ID},
		{Key: "kind", Value: "charge"},
		{Key: "status", Value: "pending"},
		{Key: "due_at", Value: p.CreatedAt},
		{Key: "payload", Value: payload},
		{Key: "metadata", Value: p.metadata()},
		{Key: "created_at", Value: p.CreatedAt},
		{Key: "write_back", Value: p.writeBack()},
	}
	if messages := p.onDone(from); len(messages) > 0 {
		intent = append(intent, bson.E{Key: "on_done", Value: messages})
	}
	if messages := p.onDead(from); len(messages) > 0 {
		intent = append(intent, bson.E{Key: "on_dead", Value: messages})
	}
	if traceParent.MatchString(trace.Parent) {
		context := bson.D{{Key: "traceparent", Value: trace.Parent}}
		if trace.State != "" && len(trace.State) <= maxTraceState {
			context = append(context, bson.E{Key: "tracestate", Value: trace.State})
		}
		intent = append(intent, bson.E{Key: "trace", Value: context})
	}
	return intent
}

// writeBack is what the worker writes on the payment in the transaction that settles its charge.
func (p *Payment) writeBack() bson.D {
	return bson.D{
		{Key: "collection", Value: Collection},
		{Key: "id", Value: p.ID},
		{Key: "done", Value: bson.D{
			{Key: "state", Value: StatePaid},
			{Key: "receipt", Value: bson.D{{Key: "provider", Value: "${result.provider}"}, {Key: "id", Value: "${result.id}"}, {Key: "status", Value: "${result.status}"}}},
			{Key: "failure", Value: nil}, // of an earlier end that turned out to be none
		}},
		{Key: "dead", Value: bson.D{
			{Key: "state", Value: StateFailed},
			{Key: "failure", Value: bson.D{{Key: "reason", Value: "${dead_reason}"}, {Key: "code", Value: "${last_error.code}"}}},
		}},
		{Key: "ambiguous", Value: bson.D{
			{Key: "state", Value: StateChecking},
			{Key: "failure", Value: nil}, // nobody knows that it failed
		}},
	}
}

// onDone are the receipts.
func (p *Payment) onDone(from Senders) bson.A {
	amount := price(p.Amount, p.Currency)
	var list bson.A
	if p.Email != "" {
		list = append(list, p.email(from, ReceiptEmail, "Receipt: "+amount,
			"Thank you for your payment of "+amount+p.purpose()+".\n\nPayment: ${metadata.payment_id}\nReference: ${result.id}\n"))
	}
	if p.Phone != "" {
		list = append(list, p.followUp("sms", ReceiptSMS, bson.D{{Key: "from", Value: literal(from.Phone)}, {Key: "to", Value: p.Phone},
			{Key: "body", Value: "Thank you for your payment of " + amount + ". Reference: ${result.id}"}}))
	}
	return list
}

// onDead tells that the payment failed, or that nobody knows yet whether it did. To tell a customer who was charged
// that they were not is the worst of the three.
func (p *Payment) onDead(from Senders) bson.A {
	if p.Email == "" {
		return nil
	}
	amount := price(p.Amount, p.Currency)
	failed := p.email(from, FailureEmail, "Your payment of "+amount+" failed", "We could not complete your payment of "+amount+p.purpose()+
		". You have not been charged. Reason: ${last_error.code}.\n\nPlease pay again, with another card if your bank declined this one.\n\nPayment: ${metadata.payment_id}\n")
	checking := p.email(from, CheckingEmail, "We are checking your payment of "+amount, "We do not know yet whether your payment of "+amount+p.purpose()+
		" went through. Please do not pay again. We are checking, and tell you as soon as we know.\n\nPayment: ${metadata.payment_id}\n")
	return bson.A{ // their order is that of [messageOf]
		append(failed, when(outbox.ReasonPermanent, outbox.ReasonExhausted, outbox.ReasonExpired, outbox.ReasonInvalid)),
		append(checking, when(outbox.ReasonAmbiguous)),
	}
}

// when keeps a follow-up for some of the ends.
func when(reasons ...outbox.DeadReason) bson.E { return bson.E{Key: "when", Value: reasons} }

// purpose names what is paid for, by reference: what a customer wrote must not be read as a reference itself.
func (p *Payment) purpose() string {
	if p.Description == "" {
		return ""
	}
	return " for ${payload.description}"
}

func (p *Payment) email(from Senders, m Message, subject, text string) bson.D {
	return p.followUp("email", m, bson.D{{Key: "from", Value: literal(from.Email)}, {Key: "to", Value: literal(p.Email)},
		{Key: "subject", Value: subject}, {Key: "text", Value: text}})
}

// followUp returns an intent for a message.
func (p *Payment) followUp(kind string, m Message, payload bson.D) bson.D {
	return bson.D{
		{Key: "kind", Value: kind},
		{Key: "payload", Value: payload},
		{Key: "expires_at", Value: p.CreatedAt.Add(receiptLife)},
		{Key: "metadata", Value: p.metadata()},
		{Key: "write_back", Value: p.became(m)},
	}
}

// became writes on the payment what became of a message.
func (p *Payment) became(m Message) bson.D {
	state := func(state string) bson.D { return bson.D{{Key: "delivery." + string(m) + ".state", Value: state}} }
	return bson.D{
		{Key: "collection", Value: Collection},
		{Key: "id", Value: p.ID},
		{Key: "done", Value: state(sent)},
		{Key: "dead", Value: state(failed)},
		{Key: "ambiguous", Value: state(unknown)},
	}
}

// metadata knows the payment by its id alone: it goes to logs and to the providers.
func (p *Payment) metadata() bson.D { return bson.D{{Key: "payment_id", Value: p.ID}} }

// traceParent and maxTraceState are from the W3C recommendation "Trace Context"; a header that fits neither is left
// out, as the recommendation asks.
var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

const maxTraceState = 512

// literal keeps a text from being read as a reference.
func literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }
