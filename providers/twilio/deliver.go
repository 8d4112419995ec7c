package twilio

import (
	"context"
	"net/http"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Deliver creates the message once, in one request; save is not needed. ctx must have a deadline. The error is nil or
// an *outbox.Failure. The receipt's id is the message's SID; it is empty if Twilio said that it created the message
// and the rest of its answer was lost.
func (p *Provider) Deliver(ctx context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	sms, ok := in.Payload.(*outbox.SMS)
	if !ok {
		return outbox.Receipt{}, notAnSMS()
	}
	service, call := p.service(ctx)
	message, err := service.CreateMessage(p.params(in, sms))
	if f := failure(ctx, call); f != nil {
		return outbox.Receipt{}, f
	}
	if err == nil && call.Whole() {
		if receipt := receiptOf(message); receipt.ID != "" {
			return receipt, nil
		}
	}
	if call.Status() != http.StatusCreated { // not what Twilio answers to a creation: something else may stand there
		return outbox.Receipt{}, call.Unreadable(ctx, Name)
	}
	return outbox.Receipt{Provider: Name, Status: "accepted"}, nil
}

func (p *Provider) params(in *outbox.Intent, sms *outbox.SMS) *api.CreateMessageParams {
	params := (&api.CreateMessageParams{}).SetTo(sms.To)
	if sms.From != "" {
		params.SetFrom(sms.From)
	}
	if sms.MessagingServiceSID != "" {
		params.SetMessagingServiceSid(sms.MessagingServiceSID)
	}
	if sms.Body != "" {
		params.SetBody(sms.Body)
	}
	if len(sms.MediaURLs) > 0 {
		params.SetMediaUrl(sms.MediaURLs)
	}
	if sms.ValiditySeconds > 0 {
		params.SetValidityPeriod(sms.ValiditySeconds)
	}
	if callback := p.callbackFor(in); callback != "" {
		params.SetStatusCallback(callback)
	}
	return params
}

// receiptOf is the receipt of a message; its id is empty if the message has none.
func receiptOf(m *api.ApiV2010Message) outbox.Receipt {
	return outbox.Receipt{Provider: Name, ID: providers.Token(text(m.Sid)), Status: providers.Token(text(m.Status))}
}

// text is a field of the SDK's that may be absent.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// notAnSMS is the failure of an intent of another kind: a defect of the wiring.
func notAnSMS() *outbox.Failure {
	return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected, Provider: Name, Message: "the intent's payload is not a text message"}
}
